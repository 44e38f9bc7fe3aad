//! Prepaid accounts over HTTP. Signatures of vouchers are checked here, many at a time, before the core sees them.

use payflow_payment::{
    SignedTransaction,
    voucher::{AccountNumber, Checked, Payee, Voucher, VoucherError, check, check_all},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use warp::http::{StatusCode, header};

use super::{
    Settings, body,
    query::{Page, linked},
    reply::{HttpResponse, document, problem_json, set},
    request::{Failed, Received},
    routes::{Api, unexpected},
};
use crate::core::{
    accounts::{
        document::{AccountRequest, AccountView, Counted},
        problem::VoucherProblem,
    },
    io::{Caller, Request},
    problem::{Problem, ProblemKind},
    reply::Answer,
};

/// Of one request: what fits into a body, and takes a few milliseconds to check.
pub(super) const MOST_VOUCHERS: usize = 200;

/// Body of `POST /v1/accounts/{id}/deposits`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DepositBody {
    /// A signed transaction, in one of the forms of [`SignedTransaction`].
    transaction: Value,
}

/// Body of `POST /v1/accounts/{id}/vouchers`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VoucherBody {
    voucher: String,
}

/// Body of `POST /v1/vouchers`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VouchersBody {
    vouchers: Vec<String>,
}

impl Api {
    pub(super) async fn open_account(&self, received: Received) -> Result<HttpResponse, Failed> {
        let mut body: AccountRequest = body::parse(&received.body)?;
        body.refund_to = self
            .desk
            .parse_address(body.refund_to.as_str())
            .ok_or_else(|| {
                body::wrong_field("refund_to", "this is not an address of the ledger")
            })?;
        let request = Request::OpenAccount {
            body,
            idempotency: received.idempotency,
        };
        let view = self.account(received.caller, request).await?;
        let mut response = document(StatusCode::CREATED, &view);
        set(
            &mut response,
            header::LOCATION,
            &format!("/v1/accounts/{}", view.account.document.id),
        );
        Ok(response)
    }

    pub(super) async fn list_accounts(&self, received: Received) -> Result<HttpResponse, Failed> {
        let page = Page::read(received.head.query.as_deref())?;
        let request = Request::ListAccounts {
            after: page.after_id("a12", AccountNumber::from_account_id)?,
            most: page.most() + 1,
        };
        match self.desk.request(received.caller, request).await? {
            Answer::Accounts(mut accounts) => {
                let more = page.cut(&mut accounts);
                let last = accounts.last().filter(|_| more);
                let next = last.map(|it| it.account.document.id.clone());
                let list = json!({ "accounts": accounts, "more": more });
                Ok(linked(&received.head.path, &page, next, &list))
            }
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn get_account(
        &self,
        number: AccountNumber,
        received: Received,
    ) -> Result<HttpResponse, Failed> {
        let request = Request::GetAccount(number);
        let view = self.account(received.caller, request).await?;
        Ok(document(StatusCode::OK, &view))
    }

    pub(super) async fn close_account(
        &self,
        number: AccountNumber,
        received: Received,
    ) -> Result<HttpResponse, Failed> {
        let request = Request::CloseAccount(number);
        let view = self.account(received.caller, request).await?;
        let done = view
            .settlement
            .as_ref()
            .map_or(view.statement.is_some(), |it| it.checkpoint.is_some());
        let status = if done {
            StatusCode::OK
        } else {
            StatusCode::ACCEPTED
        };
        Ok(document(status, &view))
    }

    pub(super) async fn deposit(
        &self,
        account: AccountNumber,
        received: Received,
    ) -> Result<HttpResponse, Failed> {
        let asked: DepositBody = body::parse(&received.body)?;
        let invalid = |reason: String| {
            Problem::new(
                ProblemKind::PaymentInvalid,
                format!("transaction: {reason}"),
            )
            .with("field", "transaction")
        };
        let transaction: SignedTransaction = serde_json::from_value(asked.transaction)
            .map_err(|_| invalid("this is not a signed transaction".to_owned()))?;
        let inspected = self
            .desk
            .inspect(&transaction)
            .map_err(|error| invalid(error.to_string()))?;
        let request = Request::Deposit {
            account,
            transaction,
            inspected,
        };
        let view = self.account(received.caller, request).await?;
        let mut response = document(StatusCode::ACCEPTED, &view);
        set(&mut response, header::RETRY_AFTER, "1");
        Ok(response)
    }

    /// One voucher, of the account that the path names.
    pub(super) async fn voucher(
        &self,
        account: AccountNumber,
        received: Received,
    ) -> Result<HttpResponse, Failed> {
        let asked: VoucherBody = body::parse(&received.body)?;
        let checked = checked(&asked.voucher, &self.settings)?;
        let of = checked.voucher().promise.account;
        if of != account {
            return Err(Problem::new(
                ProblemKind::Voucher(VoucherProblem::OtherAccount),
                format!("the voucher is of account {of}, and this is {account}"),
            )
            .into());
        }
        let mut each = self.say(received.caller, vec![checked]).await?;
        match each.pop() {
            Some(Ok(counted)) => Ok(document(StatusCode::OK, &counted)),
            Some(Err(refused)) => Err(refused.into()),
            None => Err(unexpected(&Answer::Vouchers(each))),
        }
    }

    /// Many at once, of any accounts. What is wrong with one is nothing to the others.
    pub(super) async fn vouchers(&self, received: Received) -> Result<HttpResponse, Failed> {
        let asked: VouchersBody = body::parse(&received.body)?;
        let count = asked.vouchers.len();
        if count > MOST_VOUCHERS {
            return Err(body::wrong_field(
                "vouchers",
                &format!("{count} are too many at once; send at most {MOST_VOUCHERS}"),
            )
            .into());
        }
        let payee = payee(&self.settings);
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| internal(&error.to_string()))?;
        // Milliseconds of arithmetic: not where others wait for their turn.
        let judged = tokio::task::spawn_blocking(move || judge(&asked.vouchers, &payee, seed))
            .await
            .map_err(|error| internal(&error.to_string()))?;
        let mut good = Vec::with_capacity(count);
        let judged: Vec<Option<VoucherError>> = judged
            .into_iter()
            .map(|it| it.map(|checked| good.push(checked)).err())
            .collect();
        let mut counted = self.say(received.caller, good).await?.into_iter();
        let results: Vec<Value> = judged
            .iter()
            .map(|error| {
                let said = match error {
                    Some(error) => Err(Problem::from(error)),
                    None => counted
                        .next()
                        .unwrap_or_else(|| Err(internal("a voucher has no answer"))),
                };
                match said {
                    Ok(counted) => json!(counted),
                    Err(problem) => problem_json(status_of(&problem), &problem),
                }
            })
            .collect();
        Ok(document(StatusCode::OK, &json!({ "results": results })))
    }

    async fn say(
        &self,
        caller: Caller,
        vouchers: Vec<Checked>,
    ) -> Result<Vec<Result<Counted, Problem>>, Failed> {
        match self
            .desk
            .request(caller, Request::Vouchers(vouchers))
            .await?
        {
            Answer::Vouchers(each) => Ok(each),
            other => Err(unexpected(&other)),
        }
    }

    async fn account(&self, caller: Caller, request: Request) -> Result<AccountView, Failed> {
        match self.desk.request(caller, request).await? {
            Answer::Account(view) => Ok(*view),
            other => Err(unexpected(&other)),
        }
    }
}

/// Reads and checks one voucher.
pub(super) fn checked(text: &str, settings: &Settings) -> Result<Checked, Problem> {
    let voucher: Result<Voucher, VoucherError> = text.parse();
    voucher
        .and_then(|it| check(it, &payee(settings)))
        .map_err(|error| Problem::from(&error))
}

/// Reads and checks many: those that can be read, in one go.
fn judge(texts: &[String], payee: &Payee, seed: [u8; 32]) -> Vec<Result<Checked, VoucherError>> {
    let read: Vec<Result<Voucher, VoucherError>> = texts.iter().map(|it| it.parse()).collect();
    let readable = read.iter().flatten().cloned().collect();
    let mut judged = check_all(readable, payee, seed).into_iter();
    read.into_iter()
        .map(|it| match it {
            Ok(voucher) => judged.next().unwrap_or(Err(VoucherError::Forged {
                signer: voucher.signer,
            })),
            Err(error) => Err(error),
        })
        .collect()
}

pub(super) fn account_number(id: &str) -> Result<AccountNumber, Problem> {
    AccountNumber::from_account_id(id).ok_or_else(|| {
        Problem::new(
            ProblemKind::NotFound,
            "an account's id is a and a number: a17",
        )
    })
}

fn payee(settings: &Settings) -> Payee {
    Payee {
        chain_id: settings.chain_id.clone(),
        operator: settings.operator_key,
    }
}

fn status_of(problem: &Problem) -> StatusCode {
    StatusCode::from_u16(problem.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn internal(reason: &str) -> Problem {
    Problem::new(ProblemKind::Internal, reason)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use payflow_payment::{
        Amount, ChainId, SigningKey,
        voucher::{Promise, Voucher},
    };

    use super::*;
    use crate::{
        api::{
            Limits,
            testing::{Served, operator_key, reservation},
        },
        core::io::PaymentProof,
    };

    fn chain() -> ChainId {
        "chain-1".into()
    }

    async fn served(answers: Vec<Result<Answer, Problem>>) -> Served {
        Served::on_chain(chain(), Limits::default(), answers).await
    }

    fn voucher_of(account: u64, sequence: u64) -> Voucher {
        let promise = Promise {
            payee: Payee {
                chain_id: chain(),
                operator: operator_key().public_key(),
            },
            account: AccountNumber(account),
            sequence,
            amount: Amount(sequence * 10),
        };
        promise.sign(&SigningKey::from_seed([3; 32])).unwrap()
    }

    fn counted(sequence: u64) -> Counted {
        Counted {
            account: "a1".to_owned(),
            sequence,
            promised: Amount(sequence * 10),
        }
    }

    async fn post(served: &Served, path: &str, body: Value) -> crate::api::testing::Response {
        served.signed("POST", path, "", &body.to_string()).await
    }

    #[tokio::test]
    async fn of_many_vouchers_bad_ones_are_refused_here_and_the_rest_asked_in_order() {
        let replayed = Problem::new(ProblemKind::Voucher(VoucherProblem::Replayed), "again");
        let answer = Answer::Vouchers(vec![Ok(counted(1)), Err(replayed), Ok(counted(4))]);
        let served = served(vec![Ok(answer)]).await;
        let good: Vec<String> = (1..5).map(|n| voucher_of(1, n).to_string()).collect();
        let mut forged = voucher_of(1, 9);
        forged.promise.amount.0 += 1;
        let mut elsewhere = voucher_of(1, 9);
        elsewhere.promise.payee.chain_id = "chain-2".into();
        let mut other = voucher_of(1, 9);
        other.promise.payee.operator = other.signer;
        let sent = json!({ "vouchers": [
            good[0], forged.to_string(), good[1], "%", good[3][..40],
            elsewhere.to_string(), other.to_string(), good[3],
        ] });
        let response = post(&served, "/v1/vouchers", sent).await;
        assert_eq!(response.status, 200, "{response:?}");
        let said: Vec<&str> = response.body["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["type"].as_str().unwrap_or("counted"))
            .map(|it| it.trim_start_matches("urn:payflow:problem:"))
            .collect();
        let expected = [
            "counted",
            "voucher-forged",
            "voucher-replayed",
            "voucher-malformed",
            "voucher-truncated",
            "voucher-other-chain",
            "voucher-other-operator",
            "counted",
        ];
        assert_eq!(said, expected);
        let asked = served.asked();
        let [(_, Request::Vouchers(vouchers))] = asked.as_slice() else {
            panic!("{asked:?}")
        };
        let sequences: Vec<_> = vouchers
            .iter()
            .map(|it| it.voucher().promise.sequence)
            .collect();
        assert_eq!(sequences, [1, 2, 4]);
    }

    #[tokio::test]
    async fn one_voucher_is_of_the_account_that_the_path_names() {
        let served = served(vec![Ok(Answer::Vouchers(vec![Ok(counted(1))]))]).await;
        let body = json!({ "voucher": voucher_of(1, 1).to_string() });
        let response = post(&served, "/v1/accounts/a2/vouchers", body.clone()).await;
        assert_eq!(response.status, 422);
        assert_eq!(
            response.body["type"],
            "urn:payflow:problem:voucher-other-account"
        );
        let response = post(&served, "/v1/accounts/a1/vouchers", body).await;
        assert_eq!(
            (response.status, &response.body["sequence"]),
            (200, &json!(1))
        );
        assert_eq!(served.asked().len(), 1);
    }

    #[tokio::test]
    async fn more_vouchers_than_fit_are_refused_before_they_are_looked_at() {
        let served = served(Vec::new()).await;
        let sent = json!({ "vouchers": vec!["x"; MOST_VOUCHERS + 1] });
        let response = post(&served, "/v1/vouchers", sent).await;
        assert_eq!(response.status, 400);
        assert_eq!(response.body["field"], "vouchers");
    }

    #[tokio::test]
    async fn the_most_vouchers_fit_into_a_body() {
        let vouchers: Vec<_> = (0..MOST_VOUCHERS)
            .map(|_| {
                let mut voucher = voucher_of(AccountNumber::MAX, u64::MAX / 10);
                voucher.promise.payee.chain_id = "1".repeat(44).into();
                voucher.to_string()
            })
            .collect();
        let body = json!({ "vouchers": vouchers }).to_string();
        assert!(body.len() <= Limits::default().body_bytes, "{}", body.len());
    }

    #[tokio::test]
    async fn a_purchase_is_paid_with_a_voucher_that_is_checked_first() {
        let bought = || reservation("active", json!({ "active_at": 1 }));
        let served = served(vec![bought()]).await;
        let mut forged = voucher_of(1, 1);
        forged.signature.0[3] ^= 1;
        let pay = |voucher: Voucher| json!({ "quote": "q7", "payment": { "voucher": voucher } });
        let response = post(&served, "/v1/reservations", pay(forged)).await;
        assert_eq!(response.body["type"], "urn:payflow:problem:voucher-forged");
        assert!(served.asked().is_empty());
        let response = post(&served, "/v1/reservations", pay(voucher_of(1, 1))).await;
        assert_eq!(response.status, 201, "{response:?}");
        let asked = served.asked();
        assert!(matches!(
            asked.as_slice(),
            [(_, Request::Reserve { payment: Some(PaymentProof::Voucher { voucher, pay_as_you_go: false }), .. })]
                if voucher.voucher() == &voucher_of(1, 1)
        ));
    }
}
