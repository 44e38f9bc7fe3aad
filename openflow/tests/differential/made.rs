//! Flows, groups and meters that Open vSwitch has words for, and takes as consistent.

use std::fmt::Debug;
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use rust_openflow::*;

fn exact_or_masked<T: Bits + Debug>(
    value: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = Masked<T>> {
    (value.clone(), option::weighted(0.3, value))
        .prop_map(|(value, mask)| mask.map_or(Masked::exact(value), |m| Masked::new(value, m)))
}

/// Open vSwitch reads no text of two long IPv6 addresses, so masks are prefixes.
fn v6_net() -> impl Strategy<Value = Masked<Ipv6Addr>> {
    (any::<u128>(), 1..=128u32).prop_map(|(bits, prefix)| {
        let mask = u128::MAX << (128 - prefix);
        Masked::new(Ipv6Addr::from_bits(bits), Ipv6Addr::from_bits(mask))
    })
}

fn mac() -> impl Strategy<Value = MacAddr> + Clone {
    any::<[u8; 6]>().prop_map(MacAddr)
}

/// Each of these or not.
fn some_of(fields: Vec<BoxedStrategy<Oxm>>) -> BoxedStrategy<Vec<Oxm>> {
    fields
        .into_iter()
        .map(|field| option::of(field).boxed())
        .collect::<Vec<_>>()
        .prop_map(|fields| fields.into_iter().flatten().collect())
        .boxed()
}

/// These, and then each of those or not.
fn with(first: &[Oxm], fields: Vec<BoxedStrategy<Oxm>>) -> BoxedStrategy<Vec<Oxm>> {
    let first = first.to_vec();
    some_of(fields)
        .prop_map(move |more| [first.clone(), more].concat())
        .boxed()
}

/// What needs no other field.
fn outer() -> BoxedStrategy<Vec<Oxm>> {
    let vid = prop_oneof![
        Just(Masked::exact(VlanVid::NONE)),
        Just(Masked::new(VlanVid::PRESENT, VlanVid::PRESENT)),
        (0..4096u16).prop_map(|id| Masked::exact(VlanVid::tagged(id))),
    ];
    some_of(vec![
        (1..0xff00u32)
            .prop_map(|port| Oxm::InPort(PortNo(port)))
            .boxed(),
        exact_or_masked(any::<u64>())
            .prop_map(Oxm::Metadata)
            .boxed(),
        exact_or_masked(any::<u64>())
            .prop_map(Oxm::TunnelId)
            .boxed(),
        exact_or_masked(mac()).prop_map(Oxm::EthDst).boxed(),
        exact_or_masked(mac()).prop_map(Oxm::EthSrc).boxed(),
        vid.prop_map(Oxm::VlanVid).boxed(),
    ])
}

fn transport(eth_type: EthType) -> BoxedStrategy<Vec<Oxm>> {
    let port = || exact_or_masked(any::<u16>());
    let proto = |proto| [Oxm::EthType(eth_type), Oxm::IpProto(proto)];
    let is_v4 = eth_type == EthType::IPV4;
    let icmp = if is_v4 {
        with(
            &proto(IpProto::ICMP),
            vec![
                any::<u8>().prop_map(Oxm::IcmpType).boxed(),
                any::<u8>().prop_map(Oxm::IcmpCode).boxed(),
            ],
        )
    } else {
        let solicitation = [&proto(IpProto::ICMPV6)[..], &[Oxm::Icmpv6Type(135)]].concat();
        with(
            &[&solicitation[..], &[Oxm::Icmpv6Code(0)]].concat(),
            vec![
                v6_net().prop_map(Oxm::Ipv6NdTarget).boxed(),
                mac().prop_map(Oxm::Ipv6NdSll).boxed(),
            ],
        )
    };
    let ports = |protocol, source: fn(Masked<u16>) -> Oxm, destination: fn(Masked<u16>) -> Oxm| {
        let both = vec![
            port().prop_map(source).boxed(),
            port().prop_map(destination).boxed(),
        ];
        with(&proto(protocol), both)
    };
    prop_oneof![
        Just(vec![Oxm::EthType(eth_type)]),
        any::<u8>().prop_map(move |number| {
            vec![Oxm::EthType(eth_type), Oxm::IpProto(IpProto(number))]
        }),
        ports(IpProto::TCP, Oxm::TcpSrc, Oxm::TcpDst),
        ports(IpProto::UDP, Oxm::UdpSrc, Oxm::UdpDst),
        ports(IpProto::SCTP, Oxm::SctpSrc, Oxm::SctpDst),
        icmp,
    ]
    .boxed()
}

fn both(one: BoxedStrategy<Vec<Oxm>>, other: BoxedStrategy<Vec<Oxm>>) -> BoxedStrategy<Vec<Oxm>> {
    (one, other)
        .prop_map(|(one, other)| [one, other].concat())
        .boxed()
}

/// What a frame carries, with everything that must be matched besides.
fn inner() -> BoxedStrategy<Vec<Oxm>> {
    let v4 = || exact_or_masked(any::<u32>().prop_map(Ipv4Addr::from_bits));
    let marks = || {
        vec![
            (0..64u8).prop_map(Oxm::IpDscp).boxed(),
            (0..4u8).prop_map(Oxm::IpEcn).boxed(),
        ]
    };
    let mut ipv4 = marks();
    ipv4.push(v4().prop_map(Oxm::Ipv4Src).boxed());
    ipv4.push(v4().prop_map(Oxm::Ipv4Dst).boxed());
    let mut ipv6 = marks();
    ipv6.push(v6_net().prop_map(Oxm::Ipv6Src).boxed());
    ipv6.push(v6_net().prop_map(Oxm::Ipv6Dst).boxed());
    let label = exact_or_masked(0..1u32 << 20);
    ipv6.push(label.prop_map(Oxm::Ipv6Flabel).boxed());
    let arp = vec![
        (1..=2u16).prop_map(|op| Oxm::ArpOp(ArpOp(op))).boxed(),
        v4().prop_map(Oxm::ArpSpa).boxed(),
        v4().prop_map(Oxm::ArpTpa).boxed(),
        exact_or_masked(mac()).prop_map(Oxm::ArpSha).boxed(),
        exact_or_masked(mac()).prop_map(Oxm::ArpTha).boxed(),
    ];
    let mpls = vec![
        (0..1u32 << 20).prop_map(Oxm::MplsLabel).boxed(),
        (0..8u8).prop_map(Oxm::MplsTc).boxed(),
        (0..2u8).prop_map(Oxm::MplsBos).boxed(),
    ];
    prop_oneof![
        1 => Just(vec![]),
        3 => both(transport(EthType::IPV4), some_of(ipv4)),
        3 => both(transport(EthType::IPV6), some_of(ipv6)),
        1 => with(&[Oxm::EthType(EthType::ARP)], arp),
        1 => with(&[Oxm::EthType(EthType::MPLS)], mpls),
    ]
    .boxed()
}

/// Actions that make sense for packets of any match.
fn plain_action() -> BoxedStrategy<Action> {
    prop_oneof![
        (1..0xff00u32).prop_map(|port| Action::output(PortNo(port))),
        any::<u16>().prop_map(|max_len| Action::Output {
            port: PortNo::CONTROLLER,
            max_len
        }),
        any::<u32>().prop_map(|queue| Action::SetQueue(QueueId(queue))),
        (0..GroupId::MAX.0).prop_map(|group| Action::Group(GroupId(group))),
        mac().prop_map(|mac| Action::SetField(Oxm::EthDst(Masked::exact(mac)))),
        any::<u64>().prop_map(|id| Action::SetField(Oxm::TunnelId(Masked::exact(id)))),
    ]
    .boxed()
}

/// Actions that make sense for packets of this match only.
fn fitting_action(flow_match: &Match) -> BoxedStrategy<Action> {
    let eth_type = flow_match.fields().iter().find_map(|field| match field {
        Oxm::EthType(eth_type) => Some(*eth_type),
        _ => None,
    });
    let v4 = |field: fn(Masked<Ipv4Addr>) -> Oxm| {
        any::<u32>()
            .prop_map(move |bits| Action::SetField(field(Masked::exact(Ipv4Addr::from_bits(bits)))))
            .boxed()
    };
    let ttl = || {
        prop_oneof![
            Just(Action::DecNwTtl),
            any::<u8>().prop_map(Action::SetNwTtl)
        ]
    };
    let mark = || (0..64u8).prop_map(|dscp| Action::SetField(Oxm::IpDscp(dscp)));
    match eth_type {
        Some(EthType::IPV4) => {
            prop_oneof![v4(Oxm::Ipv4Src), v4(Oxm::Ipv4Dst), ttl(), mark()].boxed()
        }
        Some(EthType::IPV6) => prop_oneof![ttl(), mark()].boxed(),
        Some(EthType::ARP) => prop_oneof![v4(Oxm::ArpSpa), v4(Oxm::ArpTpa)].boxed(),
        Some(EthType::MPLS) => prop_oneof![
            Just(Action::DecMplsTtl),
            any::<u8>().prop_map(Action::SetMplsTtl),
            (0..1u32 << 20).prop_map(|label| Action::SetField(Oxm::MplsLabel(label))),
            (0..8u8).prop_map(|tc| Action::SetField(Oxm::MplsTc(tc))),
        ]
        .boxed(),
        _ => plain_action(),
    }
}

/// What changes the headers that there are comes last.
fn last_actions(flow_match: &Match) -> BoxedStrategy<Vec<Action>> {
    let has = |wanted: EthType| flow_match.fields().contains(&Oxm::EthType(wanted));
    let tag = (0..4096u16, 0..8u8).prop_map(|(id, pcp)| {
        vec![
            Action::PushVlan(EthType::VLAN),
            Action::SetField(Oxm::VlanVid(Masked::exact(VlanVid::tagged(id)))),
            Action::SetField(Oxm::VlanPcp(pcp)),
        ]
    });
    let mpls = if has(EthType::MPLS) {
        vec![Action::PopMpls(EthType::IPV4)]
    } else {
        vec![Action::PushMpls(EthType::MPLS)]
    };
    let tagged = flow_match.fields().iter().any(|field| match field {
        Oxm::VlanVid(vid) => vid.value().id().is_some(),
        _ => false,
    });
    let untag = if tagged {
        vec![Action::PopVlan]
    } else {
        vec![]
    };
    prop_oneof![2 => Just(vec![]), 1 => tag, 1 => Just(mpls), 1 => Just(untag)].boxed()
}

fn instructions(flow_match: &Match) -> BoxedStrategy<Vec<Instruction>> {
    let actions = || {
        let action = prop_oneof![plain_action(), fitting_action(flow_match)];
        (vec(action, 1..5), last_actions(flow_match))
            .prop_map(|(first, last)| [first, last].concat())
    };
    let metadata = any::<(u64, u64)>().prop_map(|(value, mask)| Instruction::WriteMetadata {
        value: value & mask,
        mask,
    });
    (
        option::of((1..MeterId::MAX.0).prop_map(|id| Instruction::Meter(MeterId(id)))),
        option::weighted(0.8, actions().prop_map(Instruction::ApplyActions)),
        option::weighted(0.2, Just(Instruction::ClearActions)),
        option::weighted(
            0.2,
            vec(plain_action(), 1..2).prop_map(Instruction::WriteActions),
        ),
        option::weighted(0.2, metadata),
        option::of((0x80..0xffu8).prop_map(|table| Instruction::GotoTable(TableId(table)))),
    )
        .prop_map(|(meter, apply, clear, write, metadata, goto)| {
            let all = [meter, apply, clear, write, metadata, goto];
            all.into_iter().flatten().collect()
        })
        .boxed()
}

pub(crate) fn flow_mod() -> impl Strategy<Value = FlowMod> {
    let fields = both(outer(), inner());
    let flow_match = fields.prop_map(|fields| fields.into_iter().collect::<Match>());
    let entry = flow_match.prop_flat_map(|flow_match| {
        let instructions = instructions(&flow_match);
        (Just(flow_match), instructions)
    });
    let numbers = (
        0..0x80u8,
        any::<u16>(),
        0..u64::MAX,
        any::<[u16; 2]>(),
        0..0x20u16,
    );
    let command = select(vec![
        FlowCommand::ADD,
        FlowCommand::MODIFY,
        FlowCommand::MODIFY_STRICT,
    ]);
    (entry, numbers, command).prop_map(|((flow_match, instructions), numbers, command)| {
        let (table, priority, cookie, [idle, hard], flags) = numbers;
        FlowMod {
            command,
            ..FlowMod::add(TableId(table), priority, flow_match, instructions)
        }
        // Of a change, Open vSwitch tells no cookie that does not count.
        .cookie(if command == FlowCommand::ADD {
            cookie
        } else {
            0
        })
        .idle_timeout_s(idle)
        .hard_timeout_s(hard)
        .flags(FlowFlags(flags))
    })
}

pub(crate) fn group_mod() -> impl Strategy<Value = GroupMod> {
    let bucket = |weights: bool| {
        let weight = if weights { 1..=u16::MAX } else { 0..=0 };
        (weight, 1..0xff00u32, vec(plain_action(), 1..4))
            .prop_map(|(weight, port, actions)| {
                Bucket::new(actions).weight(weight).watch_port(PortNo(port))
            })
            .boxed()
    };
    let kind = (0..4u8).prop_flat_map(move |kind| {
        let kind = GroupType(kind);
        let count = if kind == GroupType::INDIRECT {
            1..2
        } else {
            1..5
        };
        (Just(kind), vec(bucket(kind == GroupType::SELECT), count))
    });
    (0..GroupId::MAX.0, kind)
        .prop_map(|(id, (kind, buckets))| GroupMod::add(GroupId(id), kind, buckets))
}

pub(crate) fn meter_mod() -> impl Strategy<Value = MeterMod> {
    let command = select(vec![MeterCommand::ADD, MeterCommand::MODIFY]);
    let band = prop_oneof![
        any::<(u32, u32)>().prop_map(|(rate, burst)| MeterBand::Drop { rate, burst }),
        any::<(u32, u32, u8)>().prop_map(|(rate, burst, prec_level)| MeterBand::DscpRemark {
            rate,
            burst,
            prec_level
        }),
    ];
    let unit = select(vec![MeterFlags::KBPS, MeterFlags::PKTPS]);
    let more = select(vec![MeterFlags::NONE, MeterFlags::BURST, MeterFlags::STATS]);
    let meter = (command, unit, more, 1..MeterId::MAX.0, vec(band, 1..5));
    meter.prop_map(|(command, unit, more, id, bands)| MeterMod {
        command,
        flags: unit | more,
        meter_id: MeterId(id),
        bands,
    })
}
