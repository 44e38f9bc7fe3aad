//! What is said of one operation: where it is, who may ask, and what goes in and comes out.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::api::token::Right;

/// One thing that can be asked.
#[derive(Clone, Copy)]
pub(super) struct Operation {
    /// As the routes name it: what varies is in braces.
    pub(super) path: &'static str,
    pub(super) method: &'static str,
    /// Its name for programs.
    pub(super) id: &'static str,
    /// What it does, in one line.
    pub(super) summary: &'static str,
    pub(super) access: Access,
    pub(super) query: Query,
    pub(super) body: Option<SchemaOf>,
    /// Whether an `Idempotency-Key` decides if it is the same request again.
    pub(super) idempotent: bool,
    /// Whether `201` and `202` say in `Location` where it is from now on.
    pub(super) located: bool,
    pub(super) answers: Answers,
    /// Statuses of problems beside those that follow from the above.
    pub(super) problems: &'static [u16],
}

/// The schema of a type.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// Status, what it means, and what comes with it.
pub(super) type Answers = &'static [(u16, &'static str, Content)];

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Anybody,
    /// Whoever signs.
    Buyer,
    /// Whoever signs, or pays by x402 with a transaction: the buyer has signed that.
    Payer,
    /// Whoever signs, or an operator with this right.
    BuyerOr(Right),
    /// An operator with this right.
    Operator(Right),
}

/// What may stand behind the question mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Query {
    Nothing,
    /// A page of a list: `after` and `limit`, and a link to the next page.
    Page,
    /// Steps in time: `step_s` and `count`.
    Steps,
}

/// What an answer holds.
#[derive(Clone, Copy)]
pub(super) enum Content {
    Json(SchemaOf),
    /// Server-sent events, each with a document of this type as its data.
    Events(SchemaOf),
    /// Text of this kind.
    Text(&'static str),
    /// The description itself.
    OpenApi,
    /// Nothing: the protocol changes.
    Nothing,
}

/// The schema of a type, where it is read or written.
pub(super) fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// A document of a type.
pub(super) const fn json<T: JsonSchema>() -> Content {
    Content::Json(of::<T>)
}

impl Operation {
    const fn new(
        method: &'static str,
        path: &'static str,
        id: &'static str,
        access: Access,
        summary: &'static str,
        answers: Answers,
    ) -> Self {
        Self {
            path,
            method,
            id,
            summary,
            access,
            query: Query::Nothing,
            body: None,
            idempotent: false,
            located: false,
            answers,
            problems: &[],
        }
    }

    pub(super) const fn get(
        path: &'static str,
        id: &'static str,
        access: Access,
        summary: &'static str,
        answers: Answers,
    ) -> Self {
        Self::new("GET", path, id, access, summary, answers)
    }

    pub(super) const fn put(
        path: &'static str,
        id: &'static str,
        access: Access,
        summary: &'static str,
        answers: Answers,
    ) -> Self {
        Self::new("PUT", path, id, access, summary, answers)
    }

    pub(super) const fn delete(
        path: &'static str,
        id: &'static str,
        access: Access,
        summary: &'static str,
        answers: Answers,
    ) -> Self {
        Self::new("DELETE", path, id, access, summary, answers)
    }

    pub(super) const fn post(
        path: &'static str,
        id: &'static str,
        access: Access,
        summary: &'static str,
        answers: Answers,
    ) -> Self {
        Self::new("POST", path, id, access, summary, answers)
    }

    /// With a body of this type.
    pub(super) const fn taking(self, body: SchemaOf) -> Self {
        Self {
            body: Some(body),
            ..self
        }
    }

    pub(super) const fn with_query(self, query: Query) -> Self {
        Self { query, ..self }
    }

    pub(super) const fn idempotent(self) -> Self {
        Self {
            idempotent: true,
            ..self
        }
    }

    pub(super) const fn located(self) -> Self {
        Self {
            located: true,
            ..self
        }
    }

    /// With problems of these statuses too.
    pub(super) const fn failing(self, problems: &'static [u16]) -> Self {
        Self { problems, ..self }
    }

    pub(super) fn streams(&self) -> bool {
        let mut contents = self.answers.iter().map(|(_, _, content)| content);
        contents.any(|it| matches!(it, Content::Events(_)))
    }

    /// Whether `If-None-Match` is looked at: wherever something is read that has an end.
    pub(super) fn is_conditional(&self) -> bool {
        self.method == "GET" && !self.streams()
    }
}

impl Access {
    /// What a token must be good for.
    pub(super) const fn right(self) -> Option<Right> {
        match self {
            Self::Anybody | Self::Buyer | Self::Payer => None,
            Self::BuyerOr(right) | Self::Operator(right) => Some(right),
        }
    }

    /// Whether a signed request is let through.
    pub(super) const fn is_signed(self) -> bool {
        matches!(self, Self::Buyer | Self::Payer | Self::BuyerOr(_))
    }
}
