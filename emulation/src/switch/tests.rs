//! Facts about the switch as a whole, on virtual time.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use rust_openflow::*;

use super::*;

const START: Duration = Duration::ZERO;

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

/// A switch with ports 1 to 3.
fn a_switch() -> MemorySwitch {
    let mut switch = MemorySwitch::new(SwitchSettings::new(DatapathId(0xa1)));
    for number in 1..=3 {
        switch.add_port(PortNo(number), &format!("p{number}"), START);
    }
    switch
}

/// A switch and its controller, greeted.
fn a_controlled_switch() -> (MemorySwitch, ConnectionId) {
    let mut switch = a_switch();
    let id = a_controller(&mut switch, START);
    (switch, id)
}

fn a_controller(switch: &mut MemorySwitch, now: Duration) -> ConnectionId {
    let id = switch.connect(ConnectionKind::Primary, now);
    let heard = say(switch, id, Message::Hello(Hello::v1_3()), now);
    assert_eq!(heard, [Message::Hello(Hello::v1_3())]);
    id
}

/// What the switch answers to one message, at once.
fn say(
    switch: &mut MemorySwitch,
    id: ConnectionId,
    message: impl Into<Message>,
    now: Duration,
) -> Vec<Message> {
    let mut bytes = Vec::new();
    message.into().encode(7, &mut bytes).unwrap();
    switch.receive(id, &bytes, now);
    hear(switch, id)
}

fn hear(switch: &mut MemorySwitch, id: ConnectionId) -> Vec<Message> {
    let mut framer = Framer::new();
    loop {
        let bytes = switch.take_output(id);
        if bytes.is_empty() {
            break;
        }
        framer.push(&bytes);
    }
    let mut heard = Vec::new();
    while let Some(frame) = framer.next_frame().unwrap() {
        heard.push(Message::decode(frame).unwrap().1);
    }
    heard
}

fn refusal(heard: &[Message]) -> Option<ErrorCode> {
    heard.iter().find_map(|message| match message {
        Message::Error(error) => Some(error.code),
        _ => None,
    })
}

fn to_port(priority: u16, flow_match: Match, port: u32) -> FlowMod {
    let output = Instruction::apply(Action::output(PortNo(port)));
    FlowMod::add(TableId(0), priority, flow_match, vec![output])
}

fn entries(switch: &mut MemorySwitch, id: ConnectionId, now: Duration) -> usize {
    let question = MultipartRequestBody::Aggregate(FlowFilter::all());
    match &say(switch, id, question, now)[..] {
        [
            Message::MultipartReply(MultipartReply {
                body: MultipartReplyBody::Aggregate(sums),
                ..
            }),
        ] => usize::try_from(sums.flow_count).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn meters(switch: &mut MemorySwitch, id: ConnectionId, now: Duration) -> usize {
    let question = MultipartRequestBody::MeterConfig(MeterId::ALL);
    match &say(switch, id, question, now)[..] {
        [
            Message::MultipartReply(MultipartReply {
                body: MultipartReplyBody::MeterConfig(meters),
                ..
            }),
        ] => meters.len(),
        other => panic!("{other:?}"),
    }
}

/// UDP over IPv4 from 10.0.0.1 to 10.0.0.2, `payload` bytes long.
fn udp(payload: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    frame.extend([0x45, 0]);
    frame.extend((28 + payload).to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend([0, 80, 0x14, 0x51]);
    frame.extend((8 + payload).to_be_bytes());
    frame.extend([0, 0]);
    frame.resize(frame.len() + usize::from(payload), 0);
    frame
}

/// Sum of the 16-bit words of an IPv4 header: all ones if its checksum is right.
fn header_sum(frame: &[u8]) -> u32 {
    let words = frame[14..34].chunks_exact(2);
    let sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    (sum & 0xffff) + (sum >> 16)
}

#[test]
fn the_handshake_says_who_the_switch_is() {
    let (mut switch, id) = a_controlled_switch();
    let heard = say(&mut switch, id, Message::FeaturesRequest, START);
    let [Message::FeaturesReply(features)] = &heard[..] else {
        panic!("{heard:?}");
    };
    assert_eq!(features.datapath_id, DatapathId(0xa1));
}

#[test]
fn who_speaks_no_openflow_1_3_is_told_so_and_hung_up_on() {
    let mut switch = a_switch();
    let id = switch.connect(ConnectionKind::Primary, START);
    switch.receive(id, &[1, 0, 0, 8, 0, 0, 0, 1], START);
    assert_eq!(
        refusal(&hear(&mut switch, id)),
        Some(ErrorCode::HELLO_INCOMPATIBLE)
    );
    assert!(!switch.is_open(id));
}

#[test]
fn messages_may_arrive_byte_by_byte() {
    let (mut switch, id) = a_controlled_switch();
    let mut bytes = Vec::new();
    Message::BarrierRequest.encode(9, &mut bytes).unwrap();
    for byte in bytes {
        switch.receive(id, &[byte], START);
    }
    assert_eq!(hear(&mut switch, id), [Message::BarrierReply]);
}

#[test]
fn the_end_of_an_entry_is_told_after_the_barrier_reply() {
    let (mut switch, id) = a_controlled_switch();
    let add = to_port(1, Match::new(), 1).flags(FlowFlags::SEND_FLOW_REM);
    say(&mut switch, id, add, START);
    let delete = FlowMod::delete_by_cookie(TableId::ALL, 0, 0);
    assert_eq!(say(&mut switch, id, delete, START), []);
    let heard = say(&mut switch, id, Message::BarrierRequest, START);
    assert!(matches!(
        heard[..],
        [Message::BarrierReply, Message::FlowRemoved(_)]
    ));
}

#[test]
fn entries_end_at_their_hard_time_out_and_when_idle() {
    let (mut switch, id) = a_controlled_switch();
    let flags = FlowFlags::SEND_FLOW_REM;
    let idle = to_port(2, Match::new().in_port(PortNo(1)), 2)
        .idle_timeout_s(10)
        .flags(flags);
    let hard = to_port(1, Match::new(), 2).hard_timeout_s(20).flags(flags);
    say(&mut switch, id, idle, START);
    say(&mut switch, id, hard, START);
    switch.inject(PortNo(1), udp(10), seconds(4));
    say(&mut switch, id, Message::EchoReply(vec![]), seconds(9));
    hear(&mut switch, id);
    assert_eq!(entries(&mut switch, id, seconds(13)), 2);
    switch.advance(seconds(14));
    switch.advance(seconds(20));
    switch.advance(seconds(21));
    let reasons: Vec<_> = hear(&mut switch, id)
        .into_iter()
        .filter_map(|message| match message {
            Message::FlowRemoved(removed) => Some((removed.reason, removed.duration_sec)),
            _ => None,
        })
        .collect();
    assert_eq!(
        reasons,
        [
            (FlowRemovedReason::IDLE_TIMEOUT, 14),
            (FlowRemovedReason::HARD_TIMEOUT, 20)
        ]
    );
}

#[test]
fn the_next_deadline_is_when_something_happens() {
    let mut switch = a_switch();
    assert_eq!(switch.next_deadline(), None);
    let id = a_controller(&mut switch, START);
    let add = to_port(1, Match::new(), 2).hard_timeout_s(3);
    say(&mut switch, id, add, START);
    assert_eq!(switch.next_deadline(), Some(seconds(3)));
    switch.advance(seconds(3));
    assert_eq!(switch.next_deadline(), Some(seconds(5)), "a probe");
}

#[test]
fn a_deleted_meter_takes_its_entries_with_it_silently_unless_asked() {
    let (mut switch, id) = a_controlled_switch();
    for told in [false, true] {
        if told {
            say(
                &mut switch,
                id,
                Message::SetAsync(AsyncConfig::EVERYTHING),
                START,
            );
        }
        say(&mut switch, id, MeterMod::add_kbps(MeterId(1), 1, 1), START);
        let metered = FlowMod::add(
            TableId(0),
            1,
            Match::new(),
            vec![Instruction::Meter(MeterId(1))],
        )
        .flags(FlowFlags::SEND_FLOW_REM);
        assert_eq!(say(&mut switch, id, metered, START), []);
        say(&mut switch, id, MeterMod::delete(MeterId(1)), START);
        assert_eq!(entries(&mut switch, id, START), 0);
        let heard = say(&mut switch, id, Message::BarrierRequest, START);
        assert_eq!(heard.len(), if told { 2 } else { 1 }, "{heard:?}");
    }
}

#[test]
fn a_paid_flow_is_metered_marked_queued_and_sent_on() {
    let (mut switch, id) = a_controlled_switch();
    switch.add_queue(PortNo(2), QueueId(2));
    say(
        &mut switch,
        id,
        MeterMod::add_kbps(MeterId(1), 80, 8),
        START,
    );
    let flow = Match::new()
        .in_port(PortNo(1))
        .eth_type(EthType::IPV4)
        .ip_proto(IpProto::UDP)
        .udp_dst(5201);
    let actions = vec![
        Action::SetField(Oxm::IpDscp(46)),
        Action::SetQueue(QueueId(2)),
        Action::output(PortNo(2)),
    ];
    let instructions = vec![
        Instruction::Meter(MeterId(1)),
        Instruction::ApplyActions(actions),
    ];
    say(
        &mut switch,
        id,
        FlowMod::add(TableId(0), 9, flow, instructions),
        START,
    );
    let mut frame = udp(958); // 1000 bytes: 10 of them a second
    frame[24..26].copy_from_slice(&[0x62, 0xeb]); // the header's checksum
    let before = header_sum(&frame);
    for ms in 0..1_000 {
        switch.inject(PortNo(1), frame.clone(), Duration::from_millis(ms));
    }
    let sent = switch.take_frames();
    assert_eq!(sent.len(), 10);
    assert_eq!((sent[0].port, sent[0].queue), (PortNo(2), Some(QueueId(2))));
    assert_eq!(sent[0].frame[15], 46 << 2);
    assert_eq!(
        header_sum(&sent[0].frame),
        before,
        "the checksum follows the mark"
    );
}

#[test]
fn a_queue_that_does_not_exist_is_the_default_queue() {
    let (mut switch, id) = a_controlled_switch();
    let actions = vec![Action::SetQueue(QueueId(7)), Action::output(PortNo(2))];
    let add = FlowMod::add(
        TableId(0),
        1,
        Match::new(),
        vec![Instruction::ApplyActions(actions)],
    );
    assert_eq!(say(&mut switch, id, add, START), []);
    switch.inject(PortNo(1), udp(1), START);
    assert_eq!(switch.take_frames()[0].queue, None);
}

#[test]
fn a_table_miss_goes_to_the_controller_with_port_and_cookie() {
    let (mut switch, id) = a_controlled_switch();
    let to_controller = Instruction::apply(Action::to_controller());
    let miss = FlowMod::add(TableId(0), 0, Match::new(), vec![to_controller]).cookie(0x77);
    say(&mut switch, id, miss, START);
    switch.inject(PortNo(3), udp(1), START);
    let heard = hear(&mut switch, id);
    let [Message::PacketIn(packet)] = &heard[..] else {
        panic!("{heard:?}");
    };
    assert_eq!(packet.in_port(), Some(PortNo(3)));
    assert_eq!(
        (packet.cookie, packet.reason),
        (0x77, PacketInReason::NO_MATCH)
    );
    assert_eq!(packet.data, udp(1));
}

#[test]
fn a_fragment_shows_its_protocol_and_no_port_and_the_first_one_neither() {
    let (mut switch, id) = a_controlled_switch();
    let packets = || Match::new().eth_type(EthType::IPV4).ip_proto(IpProto::UDP);
    // 0x1451, where the packets go.
    say(
        &mut switch,
        id,
        to_port(2, packets().udp_dst(5201), 2),
        START,
    );
    say(&mut switch, id, to_port(1, packets(), 3), START);
    // Flags and offset: whole, whole and not to be cut, the first of several, one in between, the last.
    for (flags, out) in [(0, 2), (0x4000, 2), (0x2000, 3), (0x2001, 3), (0x0001, 3)] {
        let mut frame = udp(8);
        frame[20..22].copy_from_slice(&u16::to_be_bytes(flags));
        switch.inject(PortNo(1), frame, START);
        let sent = switch.take_frames();
        assert_eq!(sent[0].port, PortNo(out), "{flags:#06x}");
    }
}

#[test]
fn what_no_entry_takes_is_dropped() {
    let (mut switch, id) = a_controlled_switch();
    switch.inject(PortNo(1), udp(1), START);
    assert_eq!(
        (hear(&mut switch, id), switch.take_frames()),
        (vec![], vec![])
    );
}

#[test]
fn a_listeners_connection_hears_nothing_unasked_until_it_sets_a_length() {
    let mut switch = a_switch();
    let id = switch.connect(ConnectionKind::Service, START);
    say(&mut switch, id, Message::Hello(Hello::v1_3()), START);
    switch.set_link(PortNo(1), false, START);
    assert_eq!(hear(&mut switch, id), []);
    say(
        &mut switch,
        id,
        Message::SetConfig(SwitchConfig::WHOLE_PACKETS),
        START,
    );
    switch.set_link(PortNo(1), true, START);
    assert!(matches!(
        hear(&mut switch, id)[..],
        [Message::PortStatus(_)]
    ));
}

#[test]
fn ports_that_come_change_and_go_are_told_of() {
    let (mut switch, id) = a_controlled_switch();
    switch.add_port(PortNo(4), "p4", START);
    switch.set_link(PortNo(4), false, START);
    switch.set_link(PortNo(4), false, START);
    switch.remove_port(PortNo(4), START);
    let told: Vec<_> = hear(&mut switch, id)
        .into_iter()
        .map(|message| match message {
            Message::PortStatus(status) => (status.reason, status.port.is_up()),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        (PortReason::ADD, true),
        (PortReason::MODIFY, false),
        (PortReason::DELETE, false),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_port_that_is_down_sends_and_receives_nothing() {
    let (mut switch, id) = a_controlled_switch();
    say(&mut switch, id, to_port(1, Match::new(), 2), START);
    switch.set_link(PortNo(2), false, START);
    switch.inject(PortNo(1), udp(1), START);
    switch.set_link(PortNo(2), true, START);
    switch.set_link(PortNo(1), false, START);
    switch.inject(PortNo(1), udp(1), START);
    assert_eq!(switch.take_frames(), []);
}

#[test]
fn the_old_master_is_told_that_it_is_a_slave_and_refused() {
    let (mut switch, first) = a_controlled_switch();
    let second = a_controller(&mut switch, START);
    let master = |generation_id| {
        let role = ControllerRole::MASTER;
        Message::RoleRequest(Role {
            role,
            generation_id,
        })
    };
    say(&mut switch, first, master(5), START);
    let stale = say(&mut switch, second, master(4), START);
    assert_eq!(refusal(&stale), Some(ErrorCode::ROLE_STALE));
    say(&mut switch, second, master(6), START);
    let heard = hear(&mut switch, first);
    let [Message::Experimenter(told)] = &heard[..] else {
        panic!("{heard:?}");
    };
    let told = RoleStatus::from_experimenter(told).unwrap();
    assert_eq!((told.role, told.generation_id), (ControllerRole::SLAVE, 6));
    let refused = say(&mut switch, first, to_port(1, Match::new(), 1), START);
    assert_eq!(refusal(&refused), Some(ErrorCode::IS_SLAVE));
}

#[test]
fn a_long_answer_comes_in_parts_of_at_most_64_kilobytes() {
    let (mut switch, id) = a_controlled_switch();
    for i in 0..2_000_u32 {
        let host = Match::new().eth_type(EthType::IPV4).ipv4_src(i.into());
        say(&mut switch, id, to_port(1, host, 1), START);
    }
    let question = MultipartRequestBody::Flow(FlowFilter::all());
    let heard = say(&mut switch, id, question, START);
    let mut flows = 0;
    for (at, message) in heard.iter().enumerate() {
        let Message::MultipartReply(part) = message else {
            panic!("{message:?}");
        };
        assert_eq!(part.has_more(), at + 1 < heard.len());
        if let MultipartReplyBody::Flow(some) = &part.body {
            flows += some.len();
        }
    }
    assert!(heard.len() > 2);
    assert_eq!(flows, 2_000);
}

#[test]
fn an_observer_sees_entries_as_packets_meet_them_and_when_they_end() {
    let (mut switch, id) = a_controlled_switch();
    say(
        &mut switch,
        id,
        to_port(1, Match::new(), 2).cookie(7),
        START,
    );
    let ends = to_port(9, Match::new().in_port(PortNo(1)), 3).hard_timeout_s(30);
    say(&mut switch, id, ends, seconds(1));
    switch.inject(PortNo(1), udp(10), seconds(2));
    let seen: Vec<_> = switch
        .entries()
        .map(|entry| (entry.priority, entry.cookie, entry.packets, entry.ends_at()))
        .collect();
    assert_eq!(seen, [(9, 0, 1, Some(seconds(31))), (1, 7, 0, None)]);
    let modify = FlowMod::new(FlowCommand::MODIFY, TableId(0), 0, Match::new());
    say(&mut switch, id, modify, seconds(3));
    let first = switch.entries().next().unwrap();
    assert_eq!(first.ends_at(), Some(seconds(33)));
    assert_eq!(
        (first.installed_at, first.instructions),
        (seconds(1), &[][..])
    );
    say(
        &mut switch,
        id,
        MeterMod::add_kbps(MeterId(5), 8, 1),
        seconds(3),
    );
    let meters: Vec<_> = switch.meters().map(|meter| meter.meter_id).collect();
    assert_eq!(meters, [MeterId(5)]);
}

#[test]
fn the_version_rises_with_every_change_and_with_nothing_else() {
    let (mut switch, id) = a_controlled_switch();
    let mut last = switch.version();
    let mut has_risen =
        |switch: &MemorySwitch| std::mem::replace(&mut last, switch.version()) < switch.version();
    let hard = to_port(1, Match::new(), 2).hard_timeout_s(5);
    let delete = FlowMod::delete_by_cookie(TableId::ALL, 0, 0);
    let modify = FlowMod::new(FlowCommand::MODIFY, TableId(0), 0, Match::new());
    let group = GroupMod::add(GroupId(1), GroupType::ALL, vec![]);
    let changes: [Message; 6] = [
        group.into(),
        hard.clone().into(),
        modify.clone().into(),
        delete.clone().into(),
        MeterMod::add_kbps(MeterId(1), 1, 1).into(),
        hard.into(),
    ];
    for change in changes {
        say(&mut switch, id, change.clone(), START);
        assert!(has_risen(&switch), "{change:?}");
    }
    switch.inject(PortNo(1), udp(1), seconds(1));
    say(&mut switch, id, Message::BarrierRequest, seconds(4));
    let missing = MeterMod::modify_kbps(MeterId(2), 1, 1);
    say(&mut switch, id, missing, seconds(4));
    assert!(!has_risen(&switch));
    switch.advance(seconds(5));
    assert!(has_risen(&switch), "an entry's time was over");
    say(&mut switch, id, modify, seconds(5));
    say(&mut switch, id, delete, seconds(5));
    assert!(!has_risen(&switch), "nothing to modify or delete");
    switch.set_link(PortNo(1), true, seconds(5));
    assert!(!has_risen(&switch), "it was up before");
    switch.set_link(PortNo(1), false, seconds(5));
    assert!(has_risen(&switch));
    switch.restart(seconds(6));
    assert!(has_risen(&switch));
}

#[test]
fn a_packet_puts_off_an_idle_time_out_and_the_switch_looks_again() {
    let (mut switch, id) = a_controlled_switch();
    say(
        &mut switch,
        id,
        to_port(1, Match::new(), 2).idle_timeout_s(4),
        START,
    );
    switch.inject(PortNo(1), udp(1), seconds(3));
    assert_eq!(switch.next_deadline(), Some(seconds(4)));
    switch.advance(seconds(4));
    assert_eq!(switch.entries().count(), 1);
    switch.disconnect(id, seconds(4));
    assert_eq!(switch.next_deadline(), Some(seconds(7)));
    switch.advance(seconds(7));
    assert_eq!(switch.entries().count(), 0);
    assert_eq!(switch.next_deadline(), None);
}

fn to(port: u32) -> Bucket {
    Bucket::new(vec![Action::output(PortNo(port))])
}

fn to_group(group: u32) -> FlowMod {
    let group = Instruction::apply(Action::Group(GroupId(group)));
    FlowMod::add(TableId(0), 1, Match::new(), vec![group])
}

fn left_by(switch: &mut MemorySwitch) -> Vec<u32> {
    let sent = switch.take_frames();
    sent.iter().map(|sent| sent.port.0).collect()
}

fn group_stats(switch: &mut MemorySwitch, id: ConnectionId, group: GroupId) -> Vec<GroupStats> {
    let heard = say(switch, id, MultipartRequestBody::Group(group), START);
    let [Message::MultipartReply(MultipartReply { body, .. })] = &heard[..] else {
        panic!("{heard:?}");
    };
    match body {
        MultipartReplyBody::Group(stats) => stats.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_bucket_of_all_has_the_packet_as_it_came_and_so_has_what_comes_after() {
    let (mut switch, id) = a_controlled_switch();
    let marked = Bucket::new(vec![
        Action::output(PortNo(2)),
        Action::SetField(Oxm::EthDst(Masked::exact(MacAddr([9; 6])))),
        Action::SetQueue(QueueId(1)),
    ]);
    switch.add_queue(PortNo(2), QueueId(1));
    let all = GroupMod::add(GroupId(1), GroupType::ALL, vec![marked, to(2)]);
    say(&mut switch, id, all, START);
    let then = vec![Action::Group(GroupId(1)), Action::output(PortNo(3))];
    let then = vec![Instruction::ApplyActions(then)];
    let add = FlowMod::add(TableId(0), 1, Match::new(), then);
    say(&mut switch, id, add, START);
    switch.inject(PortNo(1), udp(10), START);
    let left: Vec<_> = switch
        .take_frames()
        .into_iter()
        .map(|sent| (sent.port.0, sent.frame[0], sent.queue))
        .collect();
    assert_eq!(left, [(2, 9, Some(QueueId(1))), (2, 2, None), (3, 2, None)]);
    let stats = group_stats(&mut switch, id, GroupId(1));
    let once = BucketStats {
        packet_count: 1,
        byte_count: 52,
    };
    assert_eq!((stats[0].ref_count, stats[0].packet_count), (1, 1));
    assert_eq!(stats[0].buckets, [once, once]);
}

#[test]
fn failover_takes_the_first_bucket_whose_port_is_up() {
    let (mut switch, id) = a_controlled_switch();
    let buckets = vec![to(2).watch_port(PortNo(2)), to(3).watch_port(PortNo(3))];
    let failover = GroupMod::add(GroupId(1), GroupType::FF, buckets);
    say(&mut switch, id, failover, START);
    say(&mut switch, id, to_group(1), START);
    switch.inject(PortNo(1), udp(1), START);
    assert_eq!(left_by(&mut switch), [2]);
    switch.set_link(PortNo(2), false, START);
    switch.inject(PortNo(1), udp(1), START);
    assert_eq!(left_by(&mut switch), [3]);
    switch.remove_port(PortNo(3), START);
    switch.inject(PortNo(1), udp(1), START);
    assert_eq!(left_by(&mut switch), [0; 0]);
    switch.set_link(PortNo(2), true, START);
    switch.inject(PortNo(1), udp(1), START);
    assert_eq!(left_by(&mut switch), [2]);
}

#[test]
fn a_select_keeps_a_flow_in_one_bucket_and_spreads_flows_by_weight() {
    let (mut switch, id) = a_controlled_switch();
    let buckets = vec![to(2).weight(3), to(3).weight(1)];
    let select = GroupMod::add(GroupId(1), GroupType::SELECT, buckets);
    say(&mut switch, id, select, START);
    say(&mut switch, id, to_group(1), START);
    let mut by_port_3 = 0;
    for flow in 0..1_000_u16 {
        let mut frame = udp(10);
        frame[34..36].copy_from_slice(&flow.to_be_bytes());
        switch.inject(PortNo(1), frame.clone(), START);
        frame[15] = 46 << 2; // marked: still the same flow
        switch.inject(PortNo(1), frame, START);
        let left = left_by(&mut switch);
        assert_eq!(left[0], left[1]);
        by_port_3 += usize::from(left[0] == 3);
    }
    assert!((200..300).contains(&by_port_3), "{by_port_3} of 1000");
}

#[test]
fn a_deleted_group_takes_its_entries_with_it_and_says_so() {
    let (mut switch, id) = a_controlled_switch();
    let add = |group| GroupMod::add(GroupId(group), GroupType::ALL, vec![to(2)]);
    say(&mut switch, id, add(1), START);
    say(&mut switch, id, add(2), START);
    let entry = to_group(1).flags(FlowFlags::SEND_FLOW_REM);
    say(&mut switch, id, entry, START);
    say(&mut switch, id, to_port(7, Match::new(), 2), START);
    assert_eq!(
        say(&mut switch, id, GroupMod::delete(GroupId(1)), START),
        []
    );
    let heard = say(&mut switch, id, Message::BarrierRequest, START);
    let [Message::BarrierReply, Message::FlowRemoved(removed)] = &heard[..] else {
        panic!("{heard:?}");
    };
    assert_eq!(removed.reason, FlowRemovedReason::GROUP_DELETE);
    assert_eq!(switch.entries().count(), 1);
    assert_eq!(switch.groups().count(), 1);
    let refused = say(&mut switch, id, to_group(1), START);
    assert_eq!(refusal(&refused), Some(ErrorCode::BAD_OUT_GROUP));
    say(&mut switch, id, GroupMod::delete(GroupId::ALL), START);
    assert_eq!(switch.groups().count(), 0);
}

#[test]
fn entries_are_deleted_by_the_group_they_use() {
    let (mut switch, id) = a_controlled_switch();
    for group in [1, 2] {
        let add = GroupMod::add(GroupId(group), GroupType::ALL, vec![]);
        say(&mut switch, id, add, START);
        let write = Instruction::WriteActions(vec![Action::Group(GroupId(group))]);
        let priority = 10 + u16::try_from(group).unwrap();
        let add = FlowMod::add(TableId(0), priority, Match::new(), vec![write]);
        say(&mut switch, id, add, START);
    }
    let delete = FlowMod {
        out_group: GroupId(2),
        ..FlowMod::delete_by_cookie(TableId::ALL, 0, 0)
    };
    say(&mut switch, id, delete, START);
    let left: Vec<_> = switch.entries().map(|entry| entry.priority).collect();
    assert_eq!(left, [11]);
}

#[test]
fn a_packet_that_goes_round_in_circles_goes_nowhere_and_a_packet_out_is_refused() {
    let (mut switch, id) = a_controlled_switch();
    let round = Bucket::new(vec![Action::Group(GroupId(1))]);
    let all = GroupMod::add(GroupId(1), GroupType::ALL, vec![to(2), round]);
    say(&mut switch, id, all, START);
    say(&mut switch, id, to_group(1), START);
    switch.inject(PortNo(1), udp(1), START);
    assert_eq!(left_by(&mut switch), [0; 0]);
    let counted = group_stats(&mut switch, id, GroupId(1))[0].packet_count;
    let packet = PacketOut {
        actions: vec![Action::Group(GroupId(1))],
        ..PacketOut::new(PortNo(1), udp(1))
    };
    let refused = say(&mut switch, id, packet, START);
    assert_eq!(refusal(&refused), Some(ErrorCode::FLOW_UNKNOWN));
    let stats = group_stats(&mut switch, id, GroupId(1));
    assert_eq!(stats[0].packet_count, counted, "a refusal counts nowhere");
}

/// Each of them twice refers to, and watches, the next and itself: 2^40 ways.
#[test]
fn no_maze_of_groups_keeps_the_switch_busy() {
    let (mut switch, id) = a_controlled_switch();
    for group in 0..40 {
        let (next, own) = (GroupId(group + 1), GroupId(group));
        let all = [next, next].map(|group| Bucket::new(vec![Action::Group(group)]));
        let all = GroupMod::add(own, GroupType::ALL, all.to_vec());
        say(&mut switch, id, all, START);
        let watches = [next, GroupId(100 + group), GroupId(101 + group)];
        let failover = watches.map(|group| to(2).watch_group(group));
        let failover = GroupMod::add(GroupId(100 + group), GroupType::FF, failover.to_vec());
        say(&mut switch, id, failover, START);
    }
    for group in [0, 100] {
        say(&mut switch, id, to_group(group), START);
        switch.inject(PortNo(1), udp(1), START);
    }
    let heard = say(&mut switch, id, Message::BarrierRequest, START);
    assert_eq!(heard, [Message::BarrierReply]);
}

#[test]
fn there_are_no_more_groups_of_a_type_than_the_limit() {
    let (mut switch, id) = a_controlled_switch();
    switch.limit_groups(1);
    let add = |id, kind| GroupMod::add(GroupId(id), kind, vec![to(1)]);
    assert_eq!(say(&mut switch, id, add(1, GroupType::ALL), START), []);
    let refused = say(&mut switch, id, add(2, GroupType::ALL), START);
    assert_eq!(refusal(&refused), Some(ErrorCode::OUT_OF_GROUPS));
    assert_eq!(say(&mut switch, id, add(2, GroupType::INDIRECT), START), []);
    let modify = GroupMod::modify(GroupId(2), GroupType::ALL, vec![]);
    let refused = say(&mut switch, id, modify, START);
    assert_eq!(refusal(&refused), Some(ErrorCode::OUT_OF_GROUPS));
    let modify = GroupMod::modify(GroupId(2), GroupType::INDIRECT, vec![to(3)]);
    assert_eq!(say(&mut switch, id, modify, START), []);
}

#[test]
fn a_restart_forgets_flows_meters_groups_connections_and_elections_but_not_who_it_is() {
    let (mut switch, id) = a_controlled_switch();
    let group = GroupMod::add(GroupId(1), GroupType::ALL, vec![]);
    say(&mut switch, id, group, START);
    let role = Role {
        role: ControllerRole::MASTER,
        generation_id: 9,
    };
    say(&mut switch, id, Message::RoleRequest(role), START);
    say(&mut switch, id, MeterMod::add_kbps(MeterId(1), 1, 1), START);
    say(&mut switch, id, to_port(1, Match::new(), 1), START);
    switch.restart(seconds(1));
    assert!(!switch.is_open(id));
    assert_eq!(switch.groups().count(), 0);
    let id = a_controller(&mut switch, seconds(2));
    assert_eq!(entries(&mut switch, id, seconds(2)), 0);
    assert_eq!(meters(&mut switch, id, seconds(2)), 0);
    let older = Role {
        generation_id: 1,
        ..role
    };
    let heard = say(&mut switch, id, Message::RoleRequest(older), seconds(2));
    assert_eq!(heard, [Message::RoleReply(older)]);
}

#[test]
fn a_secure_switch_keeps_its_entries_and_a_standalone_one_forgets_them_after_15_seconds() {
    for (fail_mode, left) in [(FailMode::Secure, 1), (FailMode::Standalone, 0)] {
        let (mut switch, id) = a_controlled_switch();
        switch.set_fail_mode(fail_mode, START);
        say(&mut switch, id, MeterMod::add_kbps(MeterId(1), 1, 1), START);
        say(
            &mut switch,
            id,
            to_port(1, Match::new().in_port(PortNo(3)), 1),
            START,
        );
        switch.disconnect(id, seconds(1));
        switch.advance(seconds(15));
        switch.inject(PortNo(1), udp(1), seconds(15));
        assert_eq!(switch.take_frames(), [], "nothing is forwarded yet");
        switch.inject(PortNo(1), udp(1), seconds(16));
        let bridged = switch.take_frames().len();
        assert_eq!(bridged, if left == 0 { 3 } else { 0 }, "{fail_mode:?}");
        let id = a_controller(&mut switch, seconds(17));
        assert_eq!(entries(&mut switch, id, seconds(17)), left);
        assert_eq!(meters(&mut switch, id, seconds(17)), left);
    }
}

#[test]
fn a_silent_controller_is_probed_and_then_given_up() {
    let (mut switch, id) = a_controlled_switch();
    switch.advance(seconds(5));
    assert_eq!(hear(&mut switch, id), [Message::EchoRequest(vec![])]);
    say(&mut switch, id, Message::EchoReply(vec![]), seconds(9));
    switch.advance(seconds(18));
    assert!(switch.is_open(id));
    switch.advance(seconds(19));
    hear(&mut switch, id);
    assert!(!switch.is_open(id));
}

#[test]
fn a_full_table_refuses_one_entry_more_but_not_a_replacement() {
    let (mut switch, id) = a_controlled_switch();
    switch.limit_entries_per_table(1);
    let first = to_port(1, Match::new(), 1);
    assert_eq!(say(&mut switch, id, first.clone(), START), []);
    let refused = say(&mut switch, id, to_port(2, Match::new(), 1), START);
    assert_eq!(refusal(&refused), Some(ErrorCode::TABLE_FULL));
    assert_eq!(say(&mut switch, id, first.cookie(5), START), []);
}

#[test]
fn a_stalled_switch_answers_later_and_in_order() {
    let (mut switch, id) = a_controlled_switch();
    switch.stall_until(seconds(3));
    assert_eq!(say(&mut switch, id, to_port(1, Match::new(), 1), START), []);
    let waiting = say(&mut switch, id, Message::BarrierRequest, seconds(2));
    assert_eq!(waiting, []);
    assert_eq!(switch.next_deadline(), Some(seconds(3)));
    switch.advance(seconds(3));
    assert_eq!(hear(&mut switch, id), [Message::BarrierReply]);
    assert_eq!(entries(&mut switch, id, seconds(3)), 1);
}

#[test]
fn a_slow_switch_gives_a_few_bytes_at_a_time() {
    let (mut switch, id) = a_controlled_switch();
    switch.limit_output(Some(3));
    let mut bytes = Vec::new();
    Message::BarrierRequest.encode(1, &mut bytes).unwrap();
    switch.receive(id, &bytes, START);
    let lengths = [0; 4].map(|_| switch.take_output(id).len());
    assert_eq!(lengths, [3, 3, 2, 0]);
}

#[test]
fn a_cut_line_swallows_everything_and_stays_open() {
    let (mut switch, id) = a_controlled_switch();
    switch.cut(id);
    assert_eq!(say(&mut switch, id, Message::BarrierRequest, START), []);
    assert!(switch.is_open(id));
    assert!(!switch.is_open(ConnectionId(99)));
}

#[test]
fn a_demanded_refusal_bears_its_error_and_changes_nothing() {
    let (mut switch, id) = a_controlled_switch();
    switch.refuse(Refusal::all(ErrorCode::TABLE_FULL));
    let refused = say(&mut switch, id, to_port(1, Match::new(), 1), START);
    assert_eq!(refusal(&refused), Some(ErrorCode::TABLE_FULL));
    switch.refuse_nothing();
    assert_eq!(entries(&mut switch, id, START), 0);
}

#[test]
fn no_truncated_or_garbled_message_brings_the_switch_down() {
    let (mut switch, id) = a_controlled_switch();
    let mut whole = Vec::new();
    let add = to_port(1, Match::new().in_port(PortNo(1)), 1);
    Message::from(add).encode(1, &mut whole).unwrap();
    for cut in 8..whole.len() {
        let mut frame = whole[..cut].to_vec();
        let len = u16::try_from(cut).unwrap();
        frame[2..4].copy_from_slice(&len.to_be_bytes());
        switch.receive(id, &frame, START);
    }
    for at in 8..whole.len() {
        for byte in [0, 0x7f, 0xff] {
            let mut frame = whole.clone();
            frame[at] = byte;
            switch.receive(id, &frame, START);
        }
    }
    hear(&mut switch, id);
    let heard = say(&mut switch, id, Message::BarrierRequest, START);
    assert_eq!(heard, [Message::BarrierReply]);
}
