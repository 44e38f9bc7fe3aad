//! CAMARA's errors: `status`, `code` and `message`, whatever was wrong.

use serde_json::json;
use warp::http::{Method, StatusCode, header};

use crate::{
    api::{
        reply::{HttpResponse, document, set},
        x402::{PAYMENT_REQUIRED, PaymentRequired, answer},
    },
    core::problem::{Problem, ProblemKind},
};

/// A refusal in CAMARA's words.
#[derive(Debug)]
pub(super) struct CamaraError {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    /// How to pay, or what became of the payment: header fields.
    more: Option<Box<More>>,
}

#[derive(Debug)]
enum More {
    Allow(Method),
    Pay(PaymentRequired),
    Refused(HttpResponse),
}

impl CamaraError {
    pub(super) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code,
            message: message.into(),
            more: None,
        }
    }

    pub(super) fn argument(message: impl Into<String>) -> Self {
        Self::new(400, "INVALID_ARGUMENT", message)
    }

    pub(super) fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(401, "UNAUTHENTICATED", message)
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(403, "PERMISSION_DENIED", message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, "NOT_FOUND", message)
    }

    pub(super) fn extension(message: impl Into<String>) -> Self {
        Self::new(
            409,
            "QUALITY_ON_DEMAND.SESSION_EXTENSION_NOT_ALLOWED",
            message,
        )
    }

    pub(super) fn method(allowed: &Method) -> Self {
        let mut error = Self::new(
            405,
            "METHOD_NOT_ALLOWED",
            format!("this resource takes {allowed}"),
        );
        error.more = Some(Box::new(More::Allow(allowed.clone())));
        error
    }

    /// A body that could not be read whole.
    pub(super) fn from_status(status: StatusCode) -> Self {
        let message = match status {
            StatusCode::PAYLOAD_TOO_LARGE => "the body is too large",
            StatusCode::REQUEST_TIMEOUT => "the body did not come in time",
            _ => "the body could not be read",
        };
        Self {
            status,
            ..Self::argument(message)
        }
    }

    /// It must be paid.
    pub(super) fn pay(message: impl Into<String>, required: Option<PaymentRequired>) -> Self {
        let mut error = Self::new(402, "PAYMENT_REQUIRED", message);
        error.more = required.map(|it| Box::new(More::Pay(it)));
        error
    }

    /// A payment bought nothing.
    pub(super) fn refused(refused: &answer::Refused) -> Self {
        let mut fields = HttpResponse::new(String::new());
        refused.tell(&mut fields);
        let code = match refused.status() {
            StatusCode::PAYMENT_REQUIRED => "PAYMENT_REQUIRED",
            _ => Self::from(refused.problem.clone()).code,
        };
        Self {
            status: refused.status(),
            code,
            message: refused.problem.detail.clone(),
            more: Some(Box::new(More::Refused(fields))),
        }
    }

    pub(super) fn into_response(self) -> HttpResponse {
        let body =
            json!({ "status": self.status.as_u16(), "code": self.code, "message": self.message });
        let mut response = document(self.status, &body);
        match self.more.map(|it| *it) {
            None => {}
            Some(More::Allow(method)) => set(&mut response, header::ALLOW, method.as_str()),
            Some(More::Pay(required)) => answer::field(&mut response, PAYMENT_REQUIRED, &required),
            Some(More::Refused(fields)) => {
                response.headers_mut().extend(fields.headers().clone());
            }
        }
        let retry = [
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::TOO_MANY_REQUESTS,
        ];
        if retry.contains(&self.status) {
            set(&mut response, header::RETRY_AFTER, "2");
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = "Bearer realm=\"payflow camara\"";
            set(&mut response, header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl From<Problem> for CamaraError {
    fn from(it: Problem) -> Self {
        let (status, code) = match it.kind {
            ProblemKind::MalformedRequest | ProblemKind::InvalidField => (400, "INVALID_ARGUMENT"),
            ProblemKind::Unauthenticated => (401, "UNAUTHENTICATED"),
            ProblemKind::PaymentRequired => (402, "PAYMENT_REQUIRED"),
            ProblemKind::NotTheOwner | ProblemKind::RoleMissing => (403, "PERMISSION_DENIED"),
            ProblemKind::NotFound => (404, "NOT_FOUND"),
            ProblemKind::UnknownHost => (404, "IDENTIFIER_NOT_FOUND"),
            ProblemKind::MethodNotAllowed => (405, "METHOD_NOT_ALLOWED"),
            ProblemKind::FlowConflict
            | ProblemKind::WrongState
            | ProblemKind::QuoteExpired
            | ProblemKind::PaymentAlreadyUsed
            | ProblemKind::PriceTooHigh
            | ProblemKind::PreconditionFailed
            | ProblemKind::IdempotencyConflict => (409, "CONFLICT"),
            ProblemKind::BodyTooLarge => (413, "INVALID_ARGUMENT"),
            ProblemKind::NoRoute => (422, "SERVICE_NOT_APPLICABLE"),
            ProblemKind::NoCapacity => (422, "QUALITY_ON_DEMAND.QOS_PROFILE_NOT_APPLICABLE"),
            ProblemKind::PaymentInvalid
            | ProblemKind::PaymentInsufficient
            | ProblemKind::PaymentFailed
            | ProblemKind::Voucher(_) => (402, "PAYMENT_REQUIRED"),
            ProblemKind::HoldLimit => (429, "QUOTA_EXCEEDED"),
            ProblemKind::TooManyRequests => (429, "TOO_MANY_REQUESTS"),
            ProblemKind::LedgerUnavailable | ProblemKind::NotReady | ProblemKind::NotSelling => {
                (503, "UNAVAILABLE")
            }
            ProblemKind::Internal => (500, "INTERNAL"),
        };
        Self::new(status, code, it.detail)
    }
}
