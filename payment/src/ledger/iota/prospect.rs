//! Whether signed bytes can still execute.
//!
//! Every version of a coin is spent by exactly one transaction. So what proves that bytes are dead is another transaction,
//! in a checkpoint, whose effects say that it took a coin at just the version that was signed. It is found from the coin as
//! it is now, back through the transactions that wrote it.
//!
//! **First the coins, then the digest.** A coin that has moved on was taken by another transaction, or by this very one.
//! If this one took it, it had been executed when the coin was seen, so a node that is asked for its digest *afterwards*
//! knows it. Asked the other way round, it could be executed in between: "not found", then "the coin is spent", and the
//! same money would go out a second time, out of other coins.

use std::collections::BTreeMap;

use iota_sdk_grpc_client::read_mask_fields::ObjectField;
use iota_sdk_types::{
    Input, Object, ObjectId, ObjectReference, SignedTransaction, Transaction, TransactionDigest,
    TransactionExpiration, TransactionKind, TransactionV1, Version,
};

use super::super::{Lookup, Prospect};
use super::client::{CallError, Client};
use super::committees::Committees;
use super::evidence;
use super::proof::Doubt;
use crate::TxDigest;

/// How many transactions back from what a coin is now. Where there are more, or a node has forgotten them, nothing is
/// proven and another coin may do.
const MOST_STEPS: usize = 64;

/// How many coins that have moved on are followed back; one proves it.
const MOST_COINS: usize = 16;

/// Asks the ledger about the coins of a transaction, and then about the transaction.
pub(super) async fn prospect(
    client: &Client,
    committees: Option<&Committees>,
    transaction: &crate::SignedTransaction,
) -> Prospect {
    match find(client, committees, transaction).await {
        Ok(prospect) => prospect,
        Err(Doubt::Call(CallError(reason))) => Prospect::Unknown { reason },
        Err(Doubt::Unproven(unproven)) => {
            tracing::error!(%unproven, "a node shows a coin as spent by what is not proven");
            Prospect::Unknown {
                reason: unproven.to_string(),
            }
        }
    }
}

async fn find(
    client: &Client,
    committees: Option<&Committees>,
    transaction: &crate::SignedTransaction,
) -> Result<Prospect, Doubt> {
    let signed: SignedTransaction =
        bcs::from_bytes(transaction.as_bytes()).map_err(CallError::from)?;
    let Transaction::V1(v1) = &signed.transaction else {
        return Err(CallError("a transaction of a version that is not known".into()).into());
    };
    let ours = signed.transaction.digest();
    let Some(reason) = hindrance(client, committees, v1, ours).await? else {
        return Ok(Prospect::Open);
    };
    // Only now; see above.
    let digest = TxDigest::new(ours.to_string());
    Ok(match evidence::lookup(client, committees, &digest).await {
        Lookup::NotFound => match reason {
            Hindrance::Proven(reason) => Prospect::Dead { reason },
            Hindrance::Said(reason) if committees.is_none() => Prospect::Dead { reason },
            Hindrance::Said(reason) => Prospect::Unknown {
                reason: format!("{reason}, which the node says and does not prove"),
            },
        },
        Lookup::Found(_) => Prospect::Open,
        Lookup::Unknown { reason } => Prospect::Unknown { reason },
    })
}

/// What keeps a transaction that the ledger does not know from ever executing.
enum Hindrance {
    /// Follows from effects in a checkpoint, and from no more trust than a payment does.
    Proven(String),
    /// The node's word, which counts where every word of it does: the operator's own.
    Said(String),
}

async fn hindrance(
    client: &Client,
    committees: Option<&Committees>,
    v1: &TransactionV1,
    ours: TransactionDigest,
) -> Result<Option<Hindrance>, Doubt> {
    let coins = coins(v1);
    let now = objects(client, coins.keys().map(|id| (*id, None)).collect()).await?;
    let (mut gone, mut proofs_tried) = (Vec::new(), 0);
    for (reference, object) in coins.values().zip(now) {
        match object {
            Some(object) if object.version() > reference.version && proofs_tried < MOST_COINS => {
                proofs_tried += 1;
                match spender(client, committees, reference, object).await? {
                    Some(by) if by == ours => return Ok(None),
                    Some(by) => {
                        return Ok(Some(Hindrance::Proven(format!(
                            "its coin {} was spent by {by}",
                            reference.object_id
                        ))));
                    }
                    None => {}
                }
            }
            Some(_) => {}
            None => gone.push(*reference),
        }
    }
    // A coin that was merged into another is no more, and does not say by whom. A node that has it at the version which
    // was signed has seen it come, and so does not merely lag.
    if let Some(reference) = gone.first()
        && let [Some(_)] =
            &*objects(client, vec![(reference.object_id, Some(reference.version))]).await?
    {
        return Ok(Some(Hindrance::Said(format!(
            "its coin {} is gone",
            reference.object_id
        ))));
    }
    let TransactionExpiration::Epoch(last) = v1.expiration else {
        return Ok(None);
    };
    let epoch = client.epoch().await?;
    Ok((epoch > last)
        .then(|| Hindrance::Said(format!("it expired with epoch {last}, and it is {epoch}"))))
}

/// What it spends, the coins that pay its gas included, by object.
fn coins(v1: &TransactionV1) -> BTreeMap<ObjectId, ObjectReference> {
    let inputs = match &v1.kind {
        TransactionKind::Programmable(program) => program.inputs.as_slice(),
        _ => &[],
    };
    let owned = inputs.iter().filter_map(|input| match input {
        Input::ImmutableOrOwned(reference) => Some(reference),
        _ => None,
    });
    owned
        .chain(&v1.gas_payment.objects)
        .map(|reference| (reference.object_id, *reference))
        .collect()
}

/// Objects as they are now, or at a version; `None` for each that the node says it does not have.
async fn objects(
    client: &Client,
    wanted: Vec<(ObjectId, Option<Version>)>,
) -> Result<Vec<Option<Object>>, CallError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    client
        .call(async {
            let query = client.grpc().objects_with_versions(wanted);
            let found = query.read_mask(ObjectField::BCS).await?.into_inner();
            found
                .into_iter()
                .map(|object| match object {
                    Ok(object) => Ok(Some(object.object()?)),
                    Err(error) if error.is_not_found() => Ok(None),
                    Err(error) => Err(error.into()),
                })
                .collect()
        })
        .await
}

/// Which transaction in a checkpoint took the coin at the version that was signed, if it can be found. Objects only lead
/// there; what is believed are the effects.
async fn spender(
    client: &Client,
    committees: Option<&Committees>,
    signed: &ObjectReference,
    mut object: Object,
) -> Result<Option<TransactionDigest>, Doubt> {
    for _ in 0..MOST_STEPS {
        let wrote = object.previous_transaction;
        let Some((done, checkpoint)) = evidence::done(client, committees, wrote).await? else {
            return Ok(None);
        };
        // Executed and not in a checkpoint is not final: the end of the epoch may undo it.
        if checkpoint.is_none() {
            return Ok(None);
        }
        let changed = done.effects.changed_objects.iter();
        let before = changed
            .filter(|changed| changed.object_id == signed.object_id)
            .find_map(|changed| changed.input_state.opt_version());
        match before {
            Some(version) if version == signed.version => return Ok(Some(done.digest)),
            Some(version) if version > signed.version => {
                let wanted = vec![(signed.object_id, Some(version))];
                match objects(client, wanted).await?.pop().flatten() {
                    Some(earlier) => object = earlier,
                    None => return Ok(None),
                }
            }
            _ => return Ok(None),
        }
    }
    Ok(None)
}
