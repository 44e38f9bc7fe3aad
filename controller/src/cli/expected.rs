//! What quotes must say before anything is paid.

use std::net::IpAddr;

use payflow_payment::{Asset, ChainId, PublicKey, Signed};
use payflow_qos::BitRate;

use crate::{
    api::WellKnown,
    core::document::{QuoteDocument, QuoteRequest},
};

/// A duration that the controller says, as it knows when the paid time ends.
pub(super) const WHAT_IS_LEFT: u64 = 0;

/// What a quote must say before anything is paid.
pub(super) struct Expected<'a> {
    pub(super) request: &'a QuoteRequest,
    /// The reservation that it has to take the place of, if any: what else it replaced would end.
    pub(super) replaces: Option<&'a str>,
    pub(super) buyer: PublicKey,
    pub(super) known: &'a WellKnown,
}

impl Expected<'_> {
    /// Why the quote is not what was asked for, if it is not.
    pub(super) fn check(&self, quote: &Signed<QuoteDocument>) -> Result<(), String> {
        let document = quote
            .verify(QuoteDocument::DOMAIN, &self.known.operator_key)
            .map_err(|error| format!("the quote is not the operator's: {error}"))?;
        let request = self.request;
        let flow = &document.flow;
        let same = [
            ("the buyer", document.buyer == self.buyer),
            (
                "the source",
                request.source.is_none_or(|source| source == flow.source),
            ),
            ("the destination", request.destination == flow.destination),
            ("the protocol", request.protocol == flow.protocol),
            ("the source port", request.source_port == flow.source_port),
            (
                "the destination port",
                request.destination_port == flow.destination_port,
            ),
            (
                "the rate",
                document.rate() == BitRate(wanted_bps(request, flow.source)).to_sold(),
            ),
            (
                "what it takes the place of",
                document.replaces.as_deref() == self.replaces,
            ),
            ("the bounds", document.bounds == request.bounds),
            ("the start", document.start_at == request.start_at),
            (
                "the duration",
                request.duration_s == WHAT_IS_LEFT
                    || Some(document.duration_ms) == request.duration_s.checked_mul(1000),
            ),
            (
                "the class",
                request.class.is_none_or(|class| class == document.class),
            ),
            ("the chain", document.payment.chain_id == self.chain()),
            ("the asset", document.payment.asset == Asset::iota()),
            (
                "the address for refunds",
                document.payment.refund_to == request.refund_to,
            ),
        ];
        match same.iter().find(|(_, same)| !same) {
            Some((what, _)) => Err(format!("{what} of the quote is not what was asked for")),
            None => Ok(()),
        }
    }

    fn chain(&self) -> ChainId {
        self.known.chain_id.clone()
    }
}

/// In frame bits per second; none where the payload cannot be carried.
fn wanted_bps(request: &QuoteRequest, source: IpAddr) -> u64 {
    match request.payload {
        Some(payload) => payload.frame_bps(request.protocol, source).unwrap_or(0),
        None => request.rate_bps,
    }
}

/// A group is all that was asked for and nothing else; what is bought alone is in none.
pub(super) fn belong_together(quotes: &[QuoteDocument], asked: usize) -> Result<(), String> {
    let ids: Vec<_> = quotes.iter().map(|quote| quote.id.clone()).collect();
    let group = if asked == 1 { Vec::new() } else { ids };
    if quotes.len() == asked && quotes.iter().all(|quote| quote.group == group) {
        return Ok(());
    }
    Err("the quotes are not the group that was asked for".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use payflow_payment::Address;
    use payflow_qos::{Bounds, Class};

    use super::*;
    use crate::{
        api::testing::{buyer_key, operator_key, quote, quote_document, quote_request, sign_quote},
        core::{network::Protocol, payload::Payload},
    };

    fn known() -> WellKnown {
        let operator_key = operator_key().public_key();
        WellKnown {
            version: "0".to_owned(),
            operator_key,
            signature_tag: crate::api::signature::audience(&operator_key),
            chain_id: ChainId::new("chain-1"),
            ledger_url: None,
            faucet_url: None,
            selling: true,
        }
    }

    fn request() -> QuoteRequest {
        let mut request: QuoteRequest = serde_json::from_value(quote_request()).unwrap();
        request.refund_to = Address::new("0xab");
        request
    }

    #[test]
    fn the_quote_that_was_asked_for_is_believed() {
        let (request, known) = (request(), known());
        assert_eq!(
            Expected {
                request: &request,
                replaces: None,
                buyer: buyer_key(),
                known: &known
            }
            .check(&quote()),
            Ok(())
        );
    }

    #[test]
    fn a_quote_for_anything_else_is_not_paid() {
        let asked = request();
        let changed: [(&str, QuoteRequest); 10] = [
            (
                "source",
                QuoteRequest {
                    source: Some("10.0.0.2".parse().unwrap()),
                    ..asked.clone()
                },
            ),
            (
                "destination",
                QuoteRequest {
                    destination: "10.0.0.5".parse().unwrap(),
                    ..asked.clone()
                },
            ),
            (
                "protocol",
                QuoteRequest {
                    protocol: Protocol::Tcp,
                    ..asked.clone()
                },
            ),
            (
                "destination port",
                QuoteRequest {
                    destination_port: None,
                    ..asked.clone()
                },
            ),
            (
                "rate",
                QuoteRequest {
                    rate_bps: 10_000_001,
                    ..asked.clone()
                },
            ),
            (
                "rate",
                QuoteRequest {
                    rate_bps: 0,
                    payload: Some(Payload {
                        rate_bps: 10_000_000,
                        packet_bytes: 1_000,
                    }),
                    ..asked.clone()
                },
            ),
            (
                "bounds",
                QuoteRequest {
                    bounds: Bounds {
                        hops: Some(3),
                        delay_ms: None,
                    },
                    ..asked.clone()
                },
            ),
            (
                "duration",
                QuoteRequest {
                    duration_s: 31,
                    ..asked.clone()
                },
            ),
            (
                "class",
                QuoteRequest {
                    class: Some(Class::Elastic),
                    ..asked.clone()
                },
            ),
            (
                "refunds",
                QuoteRequest {
                    refund_to: Address::new("0xac"),
                    ..asked.clone()
                },
            ),
        ];
        for (what, request) in changed {
            let error = Expected {
                request: &request,
                replaces: None,
                buyer: buyer_key(),
                known: &known(),
            }
            .check(&quote())
            .unwrap_err();
            assert!(error.contains(what), "{error}");
        }
        let (other_buyer, other_chain) = (
            PublicKey([1; 32]),
            WellKnown {
                chain_id: ChainId::new("chain-2"),
                ..known()
            },
        );
        assert!(
            Expected {
                request: &asked,
                replaces: None,
                buyer: other_buyer,
                known: &known()
            }
            .check(&quote())
            .is_err()
        );
        assert!(
            Expected {
                request: &asked,
                replaces: None,
                buyer: buyer_key(),
                known: &other_chain
            }
            .check(&quote())
            .is_err()
        );
    }

    #[test]
    fn a_quote_that_takes_the_place_of_another_reservation_than_the_one_that_is_changed_is_not_paid()
     {
        let (request, known) = (request(), known());
        let check = |offered: Option<&str>, replaces| {
            let mut document = quote_document();
            document["replaces"] = serde_json::json!(offered);
            Expected {
                request: &request,
                replaces,
                buyer: buyer_key(),
                known: &known,
            }
            .check(&sign_quote(document))
        };
        assert_eq!(check(Some("r1"), Some("r1")), Ok(()));
        for (offered, asked) in [
            (Some("r2"), Some("r1")),
            (None, Some("r1")),
            (Some("r1"), None),
        ] {
            let error = check(offered, asked).unwrap_err();
            assert!(error.contains("the place of"), "{error}");
        }
    }

    #[test]
    fn a_quote_signed_by_another_or_changed_is_not_paid() {
        let (request, known) = (request(), known());
        let expected = Expected {
            request: &request,
            replaces: None,
            buyer: buyer_key(),
            known: &known,
        };
        let mut cheaper = quote();
        cheaper.document.payment.pay_to = Address::new("0xee");
        assert!(
            expected
                .check(&cheaper)
                .unwrap_err()
                .contains("not the operator's")
        );
        let pinned = WellKnown {
            operator_key: PublicKey([1; 32]),
            ..known.clone()
        };
        assert!(
            Expected {
                known: &pinned,
                ..expected
            }
            .check(&quote())
            .unwrap_err()
            .contains("not the operator's")
        );
    }
}
