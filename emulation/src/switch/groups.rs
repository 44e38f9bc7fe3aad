//! Groups: sets of actions, of which all or one are done, as Open vSwitch has them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rust_openflow::{
    Action, ActionType, Bucket, BucketStats, ErrorCode, GroupCapabilities, GroupCommand, GroupDesc,
    GroupFeatures, GroupId, GroupMod, GroupStats, GroupType, PortNo,
};

use super::clock::split;
use super::pipeline::ActionSet;
use super::validate::{check_alone, check_port_number};

/// Length of a group-mod without buckets, in bytes.
const GROUP_MOD_LEN: usize = 16;

/// Length of a bucket without actions, in bytes.
const BUCKET_LEN: usize = 16;

/// How long a chain of groups that watch each other may be.
const MAX_CHAIN: u32 = 128;

/// How many buckets are looked at to find out whether one is alive; beyond, it is not.
const MAX_LOOKS: u32 = 4_096;

/// Every group of a switch.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    groups: BTreeMap<GroupId, Group>,
}

#[derive(Clone, Debug)]
struct Group {
    desc: GroupDesc,
    /// What each bucket does, in the order in which it is done.
    lists: Arc<[Vec<Action>]>,
    created_at: Duration,
    acted: BucketStats,
    buckets: Vec<BucketStats>,
}

/// What a group does with one packet.
pub(super) struct Acting {
    pub(super) lists: Arc<[Vec<Action>]>,
    /// The buckets that act; `None` if one should and none is alive.
    pub(super) buckets: Option<Range<usize>>,
}

impl Groups {
    /// Does what a group-mod asks. The ids returned are of groups that went: their flow entries go
    /// with them.
    pub(super) fn apply(
        &mut self,
        wanted: &GroupMod,
        max_groups: u32,
        now: Duration,
    ) -> Result<Vec<GroupId>, ErrorCode> {
        check(wanted)?;
        let id = wanted.group_id;
        let old = self.groups.get(&id);
        match wanted.command {
            GroupCommand::ADD if old.is_some() => return Err(ErrorCode::GROUP_EXISTS),
            GroupCommand::MODIFY if old.is_none() => return Err(ErrorCode::UNKNOWN_GROUP),
            GroupCommand::DELETE if id == GroupId::ALL => {
                return Ok(std::mem::take(&mut self.groups).into_keys().collect());
            }
            GroupCommand::DELETE => {
                return Ok(self.groups.remove(&id).map(|_| id).into_iter().collect());
            }
            _ => {}
        }
        let others = self.groups.values();
        let of_the_type = others.filter(|group| group.desc.group_type == wanted.group_type);
        let changes_type = old.is_none_or(|old| old.desc.group_type != wanted.group_type);
        let most = usize::try_from(max_groups).unwrap_or(usize::MAX);
        if changes_type && of_the_type.count() >= most {
            return Err(ErrorCode::OUT_OF_GROUPS);
        }
        if id > GroupId::MAX {
            return Err(ErrorCode::INVALID_GROUP);
        }
        let created_at = old.map_or(now, |old| old.created_at);
        self.groups.insert(id, Group::new(wanted, created_at));
        Ok(Vec::new())
    }

    pub(super) fn contains(&self, id: GroupId) -> bool {
        self.groups.contains_key(&id)
    }

    /// By number.
    pub(super) fn all(&self) -> impl Iterator<Item = &GroupDesc> {
        self.groups.values().map(|group| &group.desc)
    }

    pub(super) fn clear(&mut self) {
        self.groups.clear();
    }

    /// What a group does with a packet; `None` if there is no such group. `hash` tells packets of
    /// one flow from those of others.
    pub(super) fn act(
        &self,
        id: GroupId,
        port_is_up: impl Fn(PortNo) -> bool,
        hash: impl FnOnce() -> u64,
    ) -> Option<Acting> {
        let group = self.groups.get(&id)?;
        let one = |at: Option<usize>| at.map(|at| at..at + 1);
        let buckets = match group.desc.group_type {
            GroupType::SELECT => one(self.select(group, &port_is_up, hash)),
            GroupType::FF => one(self.first_alive(group, &Liveness::new(&port_is_up), 0)),
            _ => Some(0..group.lists.len()),
        };
        Some(Acting {
            lists: Arc::clone(&group.lists),
            buckets,
        })
    }

    /// Counts a packet that buckets of a group acted on.
    pub(super) fn count(&mut self, id: GroupId, buckets: Range<usize>, frame_bytes: usize) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let bytes = u64::try_from(frame_bytes).unwrap_or(u64::MAX);
        let add = |stats: &mut BucketStats| {
            stats.packet_count += 1;
            stats.byte_count += bytes;
        };
        add(&mut group.acted);
        group.buckets[buckets].iter_mut().for_each(add);
    }

    fn first_alive(&self, group: &Group, liveness: &Liveness<'_>, chain: u32) -> Option<usize> {
        let selects = group.desc.group_type == GroupType::SELECT;
        let mut buckets = group.desc.buckets.iter();
        buckets.position(|bucket| {
            // A bucket that is never selected helps nobody.
            !(selects && bucket.weight == 0) && self.is_alive(bucket, liveness, chain)
        })
    }

    fn is_alive(&self, bucket: &Bucket, liveness: &Liveness<'_>, chain: u32) -> bool {
        if chain >= MAX_CHAIN || !liveness.may_look() {
            return false;
        }
        if !watches(bucket) || (liveness.port_is_up)(bucket.watch_port) {
            return true;
        }
        let watched = self.groups.get(&bucket.watch_group);
        watched.is_some_and(|group| self.first_alive(group, liveness, chain + 1).is_some())
    }

    /// By weight among the buckets that are alive; never one without weight.
    fn select(
        &self,
        group: &Group,
        port_is_up: &dyn Fn(PortNo) -> bool,
        hash: impl FnOnce() -> u64,
    ) -> Option<usize> {
        let liveness = Liveness::new(port_is_up);
        let buckets = &group.desc.buckets;
        let mut alive = Vec::with_capacity(buckets.len());
        for (at, bucket) in buckets.iter().enumerate() {
            if self.is_alive(bucket, &liveness, 0) {
                alive.push((at, u64::from(bucket.weight)));
            }
        }
        let weight: u64 = alive.iter().map(|(_, weight)| weight).sum();
        if weight == 0 {
            return None;
        }
        let mut left = hash() % weight;
        let chosen = alive.iter().find(|(_, weight)| {
            let here = left < *weight;
            left = left.saturating_sub(*weight);
            here
        });
        chosen.map(|(at, _)| *at)
    }

    /// Counters of one group, or of all ([`GroupId::ALL`]); none of one that does not exist.
    /// `references` says how often flow entries refer to a group.
    pub(super) fn stats(
        &self,
        id: GroupId,
        now: Duration,
        references: impl Fn(GroupId) -> u32,
    ) -> Vec<GroupStats> {
        let asked = |group: &&Group| id == GroupId::ALL || group.desc.group_id == id;
        let stats = |group: &Group| {
            let (duration_sec, duration_nsec) = split(now.saturating_sub(group.created_at));
            GroupStats {
                group_id: group.desc.group_id,
                ref_count: references(group.desc.group_id),
                packet_count: group.acted.packet_count,
                byte_count: group.acted.byte_count,
                duration_sec,
                duration_nsec,
                buckets: group.buckets.clone(),
            }
        };
        self.groups.values().filter(asked).map(stats).collect()
    }

    pub(super) fn features(max_groups: u32) -> GroupFeatures {
        const ACTIONS: [ActionType; 6] = [
            ActionType::OUTPUT,
            ActionType::SET_QUEUE,
            ActionType::GROUP,
            ActionType::SET_FIELD,
            ActionType::PUSH_VLAN,
            ActionType::POP_VLAN,
        ];
        let actions = ACTIONS.iter().fold(0, |bits, action| bits | 1 << action.0);
        GroupFeatures {
            types: 0x0f,
            capabilities: GroupCapabilities::SELECT_WEIGHT
                | GroupCapabilities::SELECT_LIVENESS
                | GroupCapabilities::CHAINING,
            max_groups: [max_groups; 4],
            actions: [actions; 4],
        }
    }
}

/// How it is found out what is alive.
struct Liveness<'a> {
    /// `false` for no port at all.
    port_is_up: &'a dyn Fn(PortNo) -> bool,
    looks: Cell<u32>,
}

impl<'a> Liveness<'a> {
    fn new(port_is_up: &'a dyn Fn(PortNo) -> bool) -> Self {
        let looks = Cell::new(0);
        Self { port_is_up, looks }
    }

    fn may_look(&self) -> bool {
        self.looks.set(self.looks.get() + 1);
        self.looks.get() <= MAX_LOOKS
    }
}

impl Group {
    fn new(wanted: &GroupMod, created_at: Duration) -> Self {
        let in_order = |bucket: &Bucket| ActionSet::of(&bucket.actions).in_order();
        Self {
            desc: GroupDesc {
                group_type: wanted.group_type,
                group_id: wanted.group_id,
                buckets: wanted.buckets.clone(),
            },
            lists: wanted.buckets.iter().map(in_order).collect(),
            created_at,
            acted: BucketStats::default(),
            buckets: vec![BucketStats::default(); wanted.buckets.len()],
        }
    }
}

fn watches(bucket: &Bucket) -> bool {
    bucket.watch_port != PortNo::ANY || bucket.watch_group != GroupId::ANY
}

/// Cuts a group-mod that cannot be read into group-mods of one bucket each, up to the first that
/// Open vSwitch cannot cut: it looks at each bucket before it looks for the next.
///
/// # Errors
/// What is wrong with the bucket that cannot be cut.
pub(super) fn bucket_by_bucket(frame: &[u8]) -> (Vec<Vec<u8>>, Result<(), ErrorCode>) {
    let mut each = Vec::new();
    let Some((head, mut rest)) = frame.split_first_chunk::<GROUP_MOD_LEN>() else {
        return (each, Ok(()));
    };
    while !rest.is_empty() {
        let len = rest.first_chunk().copied().map(u16::from_be_bytes);
        let bucket = len.and_then(|len| rest.split_at_checked(len.into()));
        let Some((bucket, tail)) = bucket.filter(|(bucket, _)| bucket.len() >= BUCKET_LEN) else {
            return (each, Err(ErrorCode::BAD_BUCKET));
        };
        if !(bucket.len() - BUCKET_LEN).is_multiple_of(8) {
            return (each, Err(ErrorCode::BAD_LEN));
        }
        let mut one = [head, bucket].concat();
        let len = u16::try_from(one.len()).unwrap_or(u16::MAX);
        one[2..4].copy_from_slice(&len.to_be_bytes());
        each.push(one);
        rest = tail;
    }
    (each, Ok(()))
}

/// What is wrong with a bucket by itself.
pub(super) fn check_bucket(bucket: &Bucket) -> Result<(), ErrorCode> {
    bucket.actions.iter().try_for_each(check_alone)?;
    check_port_number(bucket.watch_port).map_err(|_| ErrorCode::BAD_WATCH)
}

/// What is wrong with a group-mod whatever groups there are, in the order in which Open vSwitch
/// looks.
fn check(wanted: &GroupMod) -> Result<(), ErrorCode> {
    wanted.buckets.iter().try_for_each(check_bucket)?;
    let deletes = wanted.command == GroupCommand::DELETE;
    if deletes && !wanted.buckets.is_empty() {
        return Err(ErrorCode::INVALID_GROUP);
    }
    match wanted.group_type {
        GroupType::INDIRECT if !deletes && wanted.buckets.len() != 1 => {
            return Err(ErrorCode::INVALID_GROUP);
        }
        kind if kind > GroupType::FF => return Err(ErrorCode::GROUP_BAD_TYPE),
        _ => {}
    }
    if wanted.command > GroupCommand::DELETE {
        return Err(ErrorCode::GROUP_BAD_COMMAND);
    }
    for bucket in &wanted.buckets {
        if bucket.weight != 0 && wanted.group_type != GroupType::SELECT {
            return Err(ErrorCode::INVALID_GROUP);
        }
        match wanted.group_type {
            GroupType::ALL | GroupType::INDIRECT if watches(bucket) => {
                return Err(ErrorCode::WATCH_UNSUPPORTED);
            }
            GroupType::FF if !watches(bucket) => return Err(ErrorCode::INVALID_GROUP),
            _ => {}
        }
    }
    Ok(())
}
