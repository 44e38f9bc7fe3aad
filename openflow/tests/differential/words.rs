//! Flows, groups and meters in Open vSwitch's words.

use std::fmt::Debug;
use std::net::{Ipv4Addr, Ipv6Addr};

use rust_openflow::*;

fn masked_text<T: Bits + Debug>(field: &Masked<T>, show: impl Fn(T) -> String) -> String {
    let value = show(field.value());
    match field.mask() {
        Some(mask) => format!("{value}/{}", show(mask)),
        None => value,
    }
}

/// A field as Open vSwitch calls it, and its value as Open vSwitch writes it.
fn named(field: &Oxm) -> (&'static str, String) {
    let hex = |value: u64| format!("{value:#x}");
    let v4 = |field| masked_text(field, |address: Ipv4Addr| address.to_string());
    let v6 = |field: &Masked<Ipv6Addr>| match field.mask() {
        Some(mask) => format!("{}/{}", field.value(), mask.to_bits().leading_ones()),
        None => field.value().to_string(),
    };
    let mac = |field| masked_text(field, |address: MacAddr| address.to_string());
    let port = |field| masked_text(field, |port: u16| hex(port.into()));
    match field {
        Oxm::InPort(port) => ("in_port", port.0.to_string()),
        Oxm::Metadata(value) => ("metadata", masked_text(value, hex)),
        Oxm::EthDst(value) => ("eth_dst", mac(value)),
        Oxm::EthSrc(value) => ("eth_src", mac(value)),
        Oxm::EthType(value) => ("eth_type", hex(value.0.into())),
        Oxm::VlanVid(value) => ("vlan_vid", masked_text(value, |vid| hex(vid.0.into()))),
        Oxm::VlanPcp(value) => ("vlan_pcp", value.to_string()),
        Oxm::IpDscp(value) => ("ip_dscp", value.to_string()),
        Oxm::IpEcn(value) => ("ip_ecn", value.to_string()),
        Oxm::IpProto(value) => ("ip_proto", value.0.to_string()),
        Oxm::Ipv4Src(value) => ("ip_src", v4(value)),
        Oxm::Ipv4Dst(value) => ("ip_dst", v4(value)),
        Oxm::TcpSrc(value) => ("tcp_src", port(value)),
        Oxm::TcpDst(value) => ("tcp_dst", port(value)),
        Oxm::UdpSrc(value) => ("udp_src", port(value)),
        Oxm::UdpDst(value) => ("udp_dst", port(value)),
        Oxm::SctpSrc(value) => ("sctp_src", port(value)),
        Oxm::SctpDst(value) => ("sctp_dst", port(value)),
        Oxm::IcmpType(value) => ("icmp_type", value.to_string()),
        Oxm::IcmpCode(value) => ("icmp_code", value.to_string()),
        Oxm::ArpOp(value) => ("arp_op", value.0.to_string()),
        Oxm::ArpSpa(value) => ("arp_spa", v4(value)),
        Oxm::ArpTpa(value) => ("arp_tpa", v4(value)),
        Oxm::ArpSha(value) => ("arp_sha", mac(value)),
        Oxm::ArpTha(value) => ("arp_tha", mac(value)),
        Oxm::Ipv6Src(value) => ("ipv6_src", v6(value)),
        Oxm::Ipv6Dst(value) => ("ipv6_dst", v6(value)),
        Oxm::Ipv6Flabel(value) => ("ipv6_label", masked_text(value, |v| hex(v.into()))),
        Oxm::Icmpv6Type(value) => ("icmpv6_type", value.to_string()),
        Oxm::Icmpv6Code(value) => ("icmpv6_code", value.to_string()),
        Oxm::Ipv6NdTarget(value) => ("nd_target", v6(value)),
        Oxm::Ipv6NdSll(value) => ("nd_sll", value.to_string()),
        Oxm::Ipv6NdTll(value) => ("nd_tll", value.to_string()),
        Oxm::MplsLabel(value) => ("mpls_label", value.to_string()),
        Oxm::MplsTc(value) => ("mpls_tc", value.to_string()),
        Oxm::MplsBos(value) => ("mpls_bos", value.to_string()),
        Oxm::TunnelId(value) => ("tun_id", masked_text(value, hex)),
        other => panic!("Open vSwitch has no {other:?}"),
    }
}

fn action_text(action: &Action) -> String {
    match action {
        Action::Output {
            port: PortNo::CONTROLLER,
            max_len,
        } => format!("controller(max_len={max_len})"),
        Action::Output { port, .. } => format!("output:{}", port.0),
        Action::SetQueue(queue) => format!("set_queue:{}", queue.0),
        Action::Group(group) => format!("group:{}", group.0),
        Action::SetField(field) => {
            let (name, value) = named(field);
            format!("set_field:{value}->{name}")
        }
        Action::PushVlan(eth_type) => format!("push_vlan:{:#x}", eth_type.0),
        Action::PopVlan => "pop_vlan".into(),
        Action::PushMpls(eth_type) => format!("push_mpls:{:#x}", eth_type.0),
        Action::PopMpls(eth_type) => format!("pop_mpls:{:#x}", eth_type.0),
        Action::SetMplsTtl(ttl) => format!("set_mpls_ttl({ttl})"),
        Action::DecMplsTtl => "dec_mpls_ttl".into(),
        Action::SetNwTtl(ttl) => format!("mod_nw_ttl:{ttl}"),
        Action::DecNwTtl => "dec_ttl".into(),
        other => panic!("Open vSwitch has no {other:?}"),
    }
}

fn list(actions: &[Action]) -> String {
    actions
        .iter()
        .map(action_text)
        .collect::<Vec<_>>()
        .join(",")
}

fn instruction_text(instruction: &Instruction) -> String {
    match instruction {
        Instruction::Meter(meter) => format!("meter:{}", meter.0),
        Instruction::ApplyActions(actions) => list(actions),
        Instruction::ClearActions => "clear_actions".into(),
        Instruction::WriteActions(actions) => format!("write_actions({})", list(actions)),
        Instruction::WriteMetadata { value, mask } => {
            format!("write_metadata:{value:#x}/{mask:#x}")
        }
        Instruction::GotoTable(table) => format!("goto_table:{}", table.0),
        other => panic!("Open vSwitch has no {other:?}"),
    }
}

pub(crate) fn flow_text(flow_mod: &FlowMod) -> String {
    let mut words = vec![
        format!("table={}", flow_mod.table_id.0),
        format!("priority={}", flow_mod.priority),
        format!("cookie={:#x}", flow_mod.cookie),
        format!("idle_timeout={}", flow_mod.idle_timeout_s),
        format!("hard_timeout={}", flow_mod.hard_timeout_s),
    ];
    for (flag, word) in [
        (FlowFlags::SEND_FLOW_REM, "send_flow_rem"),
        (FlowFlags::CHECK_OVERLAP, "check_overlap"),
        (FlowFlags::RESET_COUNTS, "reset_counts"),
        (FlowFlags::NO_PKT_COUNTS, "no_packet_counts"),
        (FlowFlags::NO_BYT_COUNTS, "no_byte_counts"),
    ] {
        if flow_mod.flags.contains(flag) {
            words.push(word.into());
        }
    }
    for field in flow_mod.flow_match.fields() {
        let (name, value) = named(field);
        words.push(format!("{name}={value}"));
    }
    let instructions: Vec<String> = flow_mod.instructions.iter().map(instruction_text).collect();
    let instructions = match &instructions[..] {
        [] => "drop".into(),
        instructions => instructions.join(","),
    };
    format!("{},actions={instructions}", words.join(","))
}

pub(crate) fn group_text(group: &GroupMod) -> String {
    let kind = match group.group_type {
        GroupType::ALL => "all",
        GroupType::SELECT => "select",
        GroupType::INDIRECT => "indirect",
        _ => "ff",
    };
    let mut text = format!("group_id={},type={kind}", group.group_id.0);
    for bucket in &group.buckets {
        text += ",bucket=";
        if bucket.weight > 0 {
            text += &format!("weight:{},", bucket.weight);
        }
        text += &format!(
            "watch_port:{},actions={}",
            bucket.watch_port.0,
            list(&bucket.actions)
        );
    }
    text
}

/// Open vSwitch has no command that reads a meter in its words, so these are ours for what it says.
pub(crate) fn meter_text(meter: &MeterMod) -> String {
    let mut words = vec!["OFPT_METER_MOD (OF1.3) (xid=0x1):".to_owned()];
    let is_add = meter.command == MeterCommand::ADD;
    words.push(if is_add { "ADD" } else { "MOD" }.into());
    words.push(format!("meter={}", meter.meter_id.0));
    for (flag, word) in [
        (MeterFlags::KBPS, "kbps"),
        (MeterFlags::PKTPS, "pktps"),
        (MeterFlags::BURST, "burst"),
        (MeterFlags::STATS, "stats"),
    ] {
        if meter.flags.contains(flag) {
            words.push(word.into());
        }
    }
    words.push("bands=".into());
    for band in &meter.bands {
        let (kind, rate, burst, level) = match band {
            MeterBand::Drop { rate, burst } => ("drop", rate, burst, None),
            MeterBand::DscpRemark {
                rate,
                burst,
                prec_level,
            } => ("dscp_remark", rate, burst, Some(prec_level)),
            other => panic!("Open vSwitch has no {other:?}"),
        };
        words.push(format!("type={kind} rate={rate}"));
        if meter.flags.contains(MeterFlags::BURST) {
            words.push(format!("burst_size={burst}"));
        }
        words.extend(level.map(|level| format!("prec_level={level}")));
    }
    words.join(" ")
}
