//! The reconciler against a model of a switch that refuses nothing it should not be asked.

#![allow(clippy::unwrap_used)]
use super::{
    difference::{BATCH_ITEMS, Difference},
    *,
};
use proptest::prelude::*;
use rust_openflow::{FlowCommand, FlowMod, Match, MeterCommand, MeterMod, PortNo, TableId};

const TAG: OwnerTag = OwnerTag(0x50);

fn at(seconds: u64) -> Time {
    Time::from_millis(seconds * 1_000)
}

fn key(number: u32) -> FlowKey {
    FlowKey {
        table: TableId(0),
        priority: 1,
        matching: Match::new().in_port(PortNo(number)),
    }
}

fn owner(reservation: u64, generation: u16) -> FlowId {
    FlowId {
        reservation,
        generation,
    }
}

fn reconciler() -> Reconciler {
    let mut reconciler = Reconciler::new(TAG, Duration::from_secs(10), Duration::from_secs(5));
    reconciler.read_back(vec![], &[], at(0));
    reconciler
}

/// What a switch does with a bundle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Bundles {
    #[default]
    Applied,
    /// For one of its messages.
    Refused,
    Unsupported,
    /// As vendors' messages may be.
    Ignored,
}

/// A switch that does what it is told at once, and answers when asked to.
#[derive(Default)]
struct Model {
    xid: u32,
    bundles: Bundles,
    bundles_seen: usize,
    /// Committed.
    committed: Vec<u32>,
    errors: Vec<u32>,
    flows: BTreeMap<FlowKey, FlowMod>,
    meters: BTreeMap<MeterId, MeterMod>,
    barriers: Vec<u32>,
    sent: usize,
}

impl Outlet for Model {
    fn meter(&mut self, meter: MeterMod) -> u32 {
        self.sent += 1;
        let existed = self.meters.contains_key(&meter.meter_id);
        match meter.command {
            MeterCommand::DELETE => {
                let uses = Instruction::Meter(meter.meter_id);
                assert!(
                    !self
                        .flows
                        .values()
                        .any(|flow| flow.instructions.contains(&uses)),
                    "would take flows with it"
                );
                assert!(existed, "deletes what is not there");
                self.meters.remove(&meter.meter_id);
            }
            command => {
                assert_eq!(
                    existed,
                    command == MeterCommand::MODIFY,
                    "METER_EXISTS or UNKNOWN_METER"
                );
                self.meters.insert(meter.meter_id, meter);
            }
        }
        self.barrier_free_xid()
    }

    fn flow(&mut self, flow: FlowMod) -> u32 {
        self.sent += 1;
        let key = FlowKey {
            table: flow.table_id,
            priority: flow.priority,
            matching: flow.flow_match.clone(),
        };
        if flow.command == FlowCommand::DELETE_STRICT {
            self.flows
                .retain(|at, old| *at != key || old.cookie != flow.cookie);
        } else {
            assert!(
                meter_of(&flow.instructions).is_none_or(|meter| self.meters.contains_key(&meter)),
                "INVALID_METER"
            );
            self.flows.insert(key, flow);
        }
        self.barrier_free_xid()
    }

    fn bundle(&mut self, flows: Vec<FlowMod>) -> SentBundle {
        self.bundles_seen += 1;
        let open = self.barrier_free_xid();
        let applied = self.bundles == Bundles::Applied;
        let xids = flows.into_iter().map(|flow| match applied {
            true => self.flow(flow),
            false => self.barrier_free_xid(),
        });
        let xids: Vec<u32> = xids.collect();
        let commit = self.barrier_free_xid();
        match self.bundles {
            Bundles::Applied => self.committed.push(commit),
            Bundles::Refused => self.errors.push(commit),
            Bundles::Unsupported => {
                self.errors.push(open);
                self.errors.extend(&xids);
                self.errors.push(commit);
            }
            Bundles::Ignored => {}
        }
        SentBundle {
            open,
            flows: xids,
            commit,
        }
    }

    fn barrier(&mut self) -> u32 {
        let xid = self.barrier_free_xid();
        self.barriers.push(xid);
        xid
    }
}

impl Model {
    fn answer(&mut self, reconciler: &mut Reconciler, now: Time) {
        for xid in self.errors.drain(..) {
            assert!(reconciler.error(xid, "refused"));
        }
        for xid in self.committed.drain(..) {
            reconciler.reply(xid);
        }
        for xid in self.barriers.drain(..) {
            // Those between meters and flow entries confirm nothing by themselves.
            let confirmed = reconciler.barrier(xid, now).unwrap_or_default();
            assert_eq!(confirmed.refused, [], "no entry by itself");
        }
    }

    fn barrier_free_xid(&mut self) -> u32 {
        self.xid += 1;
        self.xid
    }

    fn answer_all(&mut self, reconciler: &mut Reconciler, now: Time) {
        while !self.barriers.is_empty() {
            self.answer(reconciler, now);
            reconciler.flush(now, self);
        }
    }
}

fn paid_entry(meter: u32, action: u32) -> FlowEntry {
    let output = Instruction::apply(rust_openflow::Action::output(PortNo(action)));
    FlowEntry::new(vec![Instruction::Meter(MeterId(0x1_0000 + meter)), output])
}

#[test]
fn a_time_out_that_does_not_fit_is_renewed_when_half_of_it_is_over() {
    let (mut reconciler, mut switch) = (reconciler(), Model::default());
    let entry = FlowEntry {
        until: Some(at(200_000)),
        ..FlowEntry::new(vec![])
    };
    reconciler.want(owner(1, 0), key(1), entry);
    let mut armed = Vec::new();
    let mut now = at(0);
    while now < at(200_000) {
        reconciler.flush(now, &mut switch);
        let before = switch.sent;
        switch.answer_all(&mut reconciler, now);
        assert_eq!(switch.sent, before);
        armed.push((now.millis() / 1_000, switch.flows[&key(1)].hard_timeout_s));
        let Some(next) = reconciler.next_deadline(now) else {
            break;
        };
        assert!(now < next, "time goes on");
        now = next;
    }
    let times: Vec<u64> = armed.iter().map(|(at, _)| *at).collect();
    assert_eq!(
        times,
        [0, 32_767, 65_535, 98_302, 131_070, 163_837],
        "{armed:?}"
    );
    let (last, timeout) = armed.last().unwrap();
    assert!(last + u64::from(*timeout) >= 200_000, "{armed:?}");
}

#[test]
fn what_the_switch_refuses_is_sent_again_later_and_not_before() {
    let (mut reconciler, mut switch) = (reconciler(), Model::default());
    reconciler.want(owner(1, 0), key(1), FlowEntry::new(vec![]));
    reconciler.flush(at(0), &mut switch);
    assert!(reconciler.error(1, "TABLE_FULL"));
    let confirmed = reconciler.barrier(2, at(0)).unwrap();
    assert_eq!(confirmed.refused, [(owner(1, 0), "TABLE_FULL".to_owned())]);
    assert!(!reconciler.holds(&key(1), at(0)));
    reconciler.flush(at(4), &mut switch);
    assert_eq!(switch.sent, 1);
    assert_eq!(reconciler.next_deadline(at(4)), Some(at(5)));
    reconciler.flush(at(5), &mut switch);
    assert_eq!(switch.sent, 2);
}

#[test]
fn after_a_refused_bundle_entries_go_one_by_one_and_later_in_bundles_again() {
    let (mut reconciler, mut switch) = (reconciler(), Model::default());
    let want = |reconciler: &mut Reconciler, numbers: std::ops::Range<u32>| {
        for number in numbers {
            reconciler.want(owner(1, 0), key(number), FlowEntry::new(vec![]));
        }
    };
    switch.bundles = Bundles::Refused;
    want(&mut reconciler, 0..3);
    reconciler.flush(at(0), &mut switch);
    assert_eq!((switch.bundles_seen, switch.flows.len()), (1, 0));
    switch.answer_all(&mut reconciler, at(0));
    assert_eq!((switch.bundles_seen, switch.flows.len()), (1, 3));
    assert!(reconciler.is_in_step(at(0)));
    switch.bundles = Bundles::Unsupported;
    want(&mut reconciler, 3..6);
    reconciler.flush(at(5), &mut switch);
    switch.answer_all(&mut reconciler, at(5));
    assert_eq!((switch.bundles_seen, switch.flows.len()), (2, 6));
    want(&mut reconciler, 6..9);
    reconciler.flush(at(100), &mut switch);
    assert_eq!((switch.bundles_seen, switch.flows.len()), (2, 9));
}

#[test]
fn what_is_wanted_is_sent_in_the_order_in_which_it_was_wanted_first() {
    let (mut reconciler, mut switch) = (reconciler(), Model::default());
    let numbers = |differences: Vec<(Item, Difference)>, reconciler: &Reconciler| {
        let keys = differences
            .iter()
            .map(|(item, _)| reconciler.place(*item).0.unwrap());
        keys.map(|it| FlowKey::clone(&it)).collect::<Vec<_>>()
    };
    let want = |reconciler: &mut Reconciler, number| {
        reconciler.want(owner(1, 0), key(number), FlowEntry::new(vec![]));
    };
    let first = (MAX_BATCHES * BATCH_ITEMS) as u32;
    for number in 1_000..1_000 + first + 4 {
        want(&mut reconciler, number);
    }
    reconciler.flush(at(0), &mut switch);
    for number in [5, 90_000, 1_000 + 2 * first, 3, 80_000] {
        want(&mut reconciler, number);
    }
    let sent = reconciler.next_differences(at(0));
    let left = 1_000 + first..1_000 + first + 4;
    let late = [5, 90_000, 1_000 + 2 * first, 3, 80_000];
    let expected: Vec<_> = left.chain(late).map(key).collect();
    assert_eq!(numbers(sent, &reconciler), expected);
}

#[test]
fn no_more_than_so_many_batches_are_under_way() {
    let (mut reconciler, mut switch) = (reconciler(), Model::default());
    for number in 0..10_000 {
        reconciler.want(owner(1, 0), key(number), FlowEntry::new(vec![]));
    }
    reconciler.flush(at(0), &mut switch);
    assert_eq!(
        (switch.barriers.len(), switch.sent),
        (MAX_BATCHES, MAX_BATCHES * BATCH_ITEMS)
    );
    switch.answer_all(&mut reconciler, at(0));
    assert_eq!(switch.flows.len(), 10_000);
    assert!(reconciler.is_in_step(at(0)));
}

#[derive(Clone, Debug)]
enum Change {
    Want {
        owner: FlowId,
        key: u32,
        meter: u32,
        action: u32,
        rate: u32,
    },
    Withdraw {
        owner: FlowId,
        key: u32,
    },
    Flush,
    Answer,
    Bundles(Bundles),
    Restart,
}

fn change() -> impl Strategy<Value = Change> {
    let owner = || {
        (1_u64..4, 0_u16..3).prop_map(|(reservation, generation)| owner(reservation, generation))
    };
    prop_oneof![
        4 => (owner(), 0_u32..5, 1_u32..3, 1_u32..3).prop_map(|(owner, key, action, rate)| {
            // As in life, a reservation has one meter.
            let meter = u32::try_from(owner.reservation).unwrap();
            Change::Want { owner, key, meter, action, rate }
        }),
        3 => (owner(), 0_u32..5).prop_map(|(owner, key)| Change::Withdraw { owner, key }),
        2 => Just(Change::Flush),
        2 => Just(Change::Answer),
        1 => Just(Change::Restart),
        1 => prop_oneof![
            Just(Bundles::Applied),
            Just(Bundles::Refused),
            Just(Bundles::Unsupported),
            Just(Bundles::Ignored),
        ]
        .prop_map(Change::Bundles),
    ]
}

proptest! {
    /// [`Model`] panics at every order that a switch would refuse.
    #[test]
    fn whatever_changes_and_whenever_barriers_come_the_switch_ends_up_with_what_is_wanted(
        changes in proptest::collection::vec(change(), 0..60),
    ) {
        let (mut reconciler, mut switch) = (reconciler(), Model::default());
        let mut meter_claims: BTreeMap<(FlowId, MeterId), BTreeSet<u32>> = BTreeMap::new();
        for change in changes {
            match change {
                Change::Want { owner, key: number, meter, action, rate } => {
                    let spec = MeterSpec::Kbps { rate, burst: 1 };
                    let meter_id = MeterId(0x1_0000 + meter);
                    reconciler.want_meter(owner, meter_id, spec);
                    meter_claims.entry((owner, meter_id)).or_default().insert(number);
                    reconciler.want(owner, key(number), paid_entry(meter, action));
                }
                Change::Withdraw { owner, key: number } => {
                    reconciler.withdraw(owner, &key(number));
                    for ((of, meter), keys) in &mut meter_claims {
                        if *of == owner && keys.remove(&number) && keys.is_empty() {
                            reconciler.withdraw_meter(owner, *meter);
                        }
                    }
                }
                Change::Flush => reconciler.flush(at(0), &mut switch),
                Change::Answer => switch.answer(&mut reconciler, at(0)),
                Change::Bundles(bundles) => switch.bundles = bundles,
                Change::Restart => {
                    reconciler.disconnected();
                    switch = Model { bundles: switch.bundles, ..Model::default() };
                    reconciler.read_back(vec![], &[], at(0));
                }
            }
        }
        reconciler.flush(at(0), &mut switch);
        switch.answer_all(&mut reconciler, at(0));
        prop_assert!(reconciler.is_in_step(at(0)));
        let wanted: Vec<(FlowKey, u64)> = reconciler
            .wanted_entries(at(0))
            .into_iter()
            .map(|(key, (owner, _))| (key, TAG.cookie(owner)))
            .collect();
        let held: Vec<(FlowKey, u64)> = switch.flows.iter().map(|(key, flow)| (key.clone(), flow.cookie)).collect();
        prop_assert_eq!(held, wanted);
        let wanted: BTreeMap<MeterId, MeterSpec> =
            reconciler.wanted_meters.keys().map(|meter| (*meter, reconciler.meter_wanted(*meter).unwrap())).collect();
        let held: BTreeMap<MeterId, MeterSpec> = switch
            .meters
            .iter()
            .map(|(id, meter)| (*id, MeterSpec::of(meter.flags, &meter.bands).unwrap()))
            .collect();
        prop_assert_eq!(held, wanted);
    }
}
