//! Which transactions a client wants to see.

use iota_sdk_grpc_types::tonic::Status;
use iota_sdk_grpc_types::v1::filter::TransactionFilter;
use iota_sdk_grpc_types::v1::filter::transaction_filter::Filter;
use iota_sdk_grpc_types::v1::types;
use iota_sdk_types::{Address, Transaction, TransactionEffects};

use super::super::state::Executed;
use super::malformed;

/// Whether the filter lets a transaction through; an error if this ledger does not know the filter.
pub(super) fn matches(filter: &TransactionFilter, executed: &Executed) -> Result<bool, Status> {
    let Some(filter) = &filter.filter else {
        return Ok(true);
    };
    match filter {
        Filter::Sender(wanted) => {
            let wanted = address(wanted.address.as_ref())?;
            Ok(matches!(&executed.signed.transaction, Transaction::V1(v1) if v1.sender == wanted))
        }
        Filter::Receiver(wanted) => {
            let wanted = address(wanted.address.as_ref())?;
            let mut outputs = executed.outputs.iter();
            Ok(outputs.any(|object| object.owner.as_opt_address() == Some(&wanted)))
        }
        Filter::ExecutionStatus(wanted) => {
            let TransactionEffects::V1(effects) = &executed.effects else {
                return Ok(false);
            };
            Ok(wanted.success == effects.status.is_success())
        }
        Filter::All(all) => {
            for filter in &all.filters {
                if !matches(filter, executed)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Filter::Any(any) => {
            for filter in &any.filters {
                if matches(filter, executed)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Filter::Negation(not) => {
            let filter = not.filter.as_ref().ok_or_else(|| malformed("negation"))?;
            Ok(!matches(filter, executed)?)
        }
        _ => Err(Status::unimplemented(
            "this development ledger does not know this filter",
        )),
    }
}

fn address(address: Option<&types::Address>) -> Result<Address, Status> {
    address
        .and_then(|address| Address::try_from(address).ok())
        .ok_or_else(|| malformed("address"))
}
