//! What can be made to go wrong on demand, for the tests of whatever relies on a ledger.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::time::Duration;

use iota_sdk_types::{CheckpointContents, CheckpointContentsV1};
use serde::{Deserialize, Serialize};

use super::checkpoint::Checkpoint;
use super::coin;
use super::epoch::Validators;
use super::state::Executed;

/// What goes wrong. As JSON every field may be left out; [`Self::checkpoint_delay`] is `checkpoint_delay_ms` there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Make no checkpoints: transactions execute and never become final.
    pub no_checkpoints: bool,
    /// Wait this much longer before each checkpoint.
    #[serde(rename = "checkpoint_delay_ms", with = "milliseconds")]
    pub checkpoint_delay: Duration,
    /// Answer every call as a node does that is shutting down, and end the streams.
    pub refuse_calls: bool,
    /// Execute what is submitted, and answer with an error.
    pub fail_after_success: bool,
    /// Take transactions and decide on none, as validators that do not agree yet: nobody is answered. Two transactions
    /// over the same version of a coin lock it until the epoch ends. What is not in conflict executes when this ends.
    pub hold_votes: bool,
    /// Of all frames of checkpoint streams, one in so many is not sent. A checkpoint takes three frames.
    pub lose_frame: Option<NonZeroU32>,
    /// Of all frames of checkpoint streams, one in so many is sent twice.
    pub repeat_frame: Option<NonZeroU32>,
    /// A checkpoint stream ends after so many checkpoints, without a word.
    pub end_stream_after: Option<NonZeroU32>,
    /// Show something else than what is.
    pub lie: Option<Lie>,
}

/// What a node that is not honest could show. The ledger itself stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lie {
    /// Checkpoints are signed with keys that are nobody's.
    Signature,
    /// Checkpoints are of the next epoch already, and signed by a committee that nobody appointed.
    Committee,
    /// Checkpoints come with the contents of another.
    Contents,
    /// Checkpoints come without their transactions.
    Omission,
    /// Every second checkpoint is left out.
    Gap,
    /// Every transaction has paid more than it did, as far as balances and objects say.
    Amount,
}

impl Faults {
    /// How often frame `n` of all checkpoint streams is sent. Which are hit is irregular, so that nobody who tries again
    /// meets the same fault for ever, and the same in every run.
    pub(super) fn times_sent(&self, n: u64) -> usize {
        // SplitMix64 (Steele, Lea and Flood, 2014).
        let mut mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let hit = |one_in: Option<NonZeroU32>| {
            one_in.is_some_and(|one_in| mixed.is_multiple_of(u64::from(one_in.get())))
        };
        if hit(self.lose_frame) {
            0
        } else if hit(self.repeat_frame) {
            2
        } else {
            1
        }
    }
}

/// What [`Lie::Amount`] adds to every coin that a transaction wrote.
const LIED: u64 = 1_000_000_000;

/// The transaction as it is shown.
pub(super) fn shown_transaction(executed: &Executed, lie: Option<Lie>) -> Cow<'_, Executed> {
    if lie != Some(Lie::Amount) {
        return Cow::Borrowed(executed);
    }
    let mut executed = executed.clone();
    for object in &mut executed.outputs {
        if let Some(balance) = coin::balance(object) {
            coin::set_balance(object, balance.saturating_add(LIED));
        }
    }
    Cow::Owned(executed)
}

/// The checkpoint as it is shown, and who signs it.
pub(super) fn shown_checkpoint<'a>(
    real: &'a Checkpoint,
    honest: &'a Validators,
    lie: Option<Lie>,
) -> (Cow<'a, Checkpoint>, Cow<'a, Validators>) {
    let impostors = || Cow::Owned(Validators::new([0; 32]));
    let (mut summary, contents) = (real.summary.clone(), real.contents.clone());
    match lie {
        Some(Lie::Signature) => (Cow::Owned(Checkpoint::of(summary, contents)), impostors()),
        Some(Lie::Committee) => {
            summary.epoch = summary.epoch.saturating_add(1);
            (Cow::Owned(Checkpoint::of(summary, contents)), impostors())
        }
        Some(Lie::Contents) => {
            let mut others = contents.into_transactions();
            others.pop();
            let others = CheckpointContents::new_v1(CheckpointContentsV1::new(others));
            let shown = Checkpoint::of(summary, others);
            (Cow::Owned(shown), Cow::Borrowed(honest))
        }
        Some(Lie::Omission | Lie::Gap | Lie::Amount) | None => {
            (Cow::Borrowed(real), Cow::Borrowed(honest))
        }
    }
}

mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}
