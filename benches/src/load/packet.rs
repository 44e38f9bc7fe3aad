//! Packet-ins of hosts that ask for an address, and which of them a controller's message answers.
//!
//! The frame is an ARP request (RFC 826), padded to 60 bytes. The padding carries the packet's number, so that a
//! packet-out tells which packet it sends; an entry for a sender's MAC address tells which host it lets in.

use rust_openflow::{
    BufferId, EncodeError, Match, Message, PacketIn, PacketInReason, PortNo, TableId,
};

/// Ethernet frame without check sequence, padded.
const FRAME: usize = 60;
/// EtherType, hardware and protocol of every frame made here.
const ARP_REQUEST: [u8; 10] = [8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
/// Where the padding begins: Ethernet header and ARP body.
const PADDING: usize = 42;
/// Says that the padding is ours; the number follows.
const MARK: [u8; 4] = *b"load";
/// The second byte of the MAC addresses of hosts made here; the first says "locally administered".
const HOST_MAC: [u8; 2] = [0x02, 0x4c];

/// Table of the packet-in of a host that was heard before.
const KNOWN: TableId = TableId(2);
/// The same of a host that was never heard: payflow holds its ARP until it has learned it.
const NEW: TableId = TableId(5);
/// Where `table_id` is in `ofp_packet_in`, header included.
const TABLE_AT: usize = 15;

/// A host behind an emulated switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HostId {
    /// Number of the switch.
    pub(super) switch: u16,
    /// Number of the host there.
    pub(super) host: u16,
}

impl HostId {
    fn mac(self) -> [u8; 6] {
        let ([a, b], [c, d]) = (self.switch.to_be_bytes(), self.host.to_be_bytes());
        [HOST_MAC[0], HOST_MAC[1], a, b, c, d]
    }

    fn of_mac(mac: &[u8]) -> Option<Self> {
        let [a, b, c, d] = *mac.strip_prefix(&HOST_MAC)?.first_chunk()?;
        Some(Self {
            switch: u16::from_be_bytes([a, b]),
            host: u16::from_be_bytes([c, d]),
        })
    }

    /// 10.x.y.z: 10 bits of switch, 14 of host; never the first or last of a /24 alone.
    fn address(self) -> [u8; 4] {
        let number = (u32::from(self.switch) << 14) | u32::from(self.host) & 0x3fff;
        let [_, a, b, c] = number.to_be_bytes();
        [10, a, b, c]
    }
}

/// The packet-in of one switch, to be filled in again and again.
#[derive(Clone, Debug)]
pub(super) struct PacketInTemplate {
    message: Vec<u8>,
    frame_at: usize,
    port_at: usize,
}

impl PacketInTemplate {
    /// A packet-in of a packet that no other entry takes; ovs-testcontroller answers those alone.
    ///
    /// # Errors
    /// None for a message of this size.
    pub(super) fn new() -> Result<Self, EncodeError> {
        let mut frame = vec![0xff; 6];
        frame.extend([0; 6]);
        frame.extend(ARP_REQUEST);
        frame.resize(PADDING, 0);
        frame.extend(MARK);
        frame.resize(FRAME, 0);
        let packet = PacketIn {
            buffer_id: BufferId::NO_BUFFER,
            total_len: FRAME as u16,
            reason: PacketInReason::NO_MATCH,
            table_id: KNOWN,
            cookie: u64::MAX,
            flow_match: Match::new().in_port(PortNo(1)),
            data: frame,
        };
        let mut message = Vec::new();
        Message::PacketIn(packet).encode(0, &mut message)?;
        // Header 8, fixed fields 16, match header 4, field header 4.
        Ok(Self {
            frame_at: message.len() - FRAME,
            port_at: 32,
            message,
        })
    }

    /// Appends the packet-in number `packet`: `host`, at `port`, asks for its neighbour. `is_first`: it was never heard.
    pub(super) fn write(
        &mut self,
        host: HostId,
        port: u32,
        packet: u32,
        is_first: bool,
        out: &mut Vec<u8>,
    ) {
        let TableId(table) = if is_first { NEW } else { KNOWN };
        self.put(TABLE_AT, &[table]);
        let (mac, address) = (host.mac(), host.address());
        let at = self.frame_at;
        self.put(self.port_at, &port.to_be_bytes());
        self.put(at + 6, &mac);
        self.put(at + 22, &mac);
        self.put(at + 28, &address);
        let [a, b, c, d] = address;
        self.put(at + 38, &[a, b, c, d ^ 1]);
        self.put(at + PADDING + MARK.len(), &packet.to_be_bytes());
        out.extend_from_slice(&self.message);
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.message.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
}

/// The number of the packet that a packet-out (`ofp_packet_out`, header included) sends, if it is one of ours.
#[must_use]
pub(super) fn packet_sent(packet_out: &[u8]) -> Option<u32> {
    let actions_len = u16::from_be_bytes(*packet_out.get(16..)?.first_chunk()?);
    let frame = packet_out.get(24 + usize::from(actions_len)..)?;
    if frame.get(12..22)? != ARP_REQUEST {
        return None;
    }
    let number = frame.get(PADDING..)?.strip_prefix(&MARK)?;
    Some(u32::from_be_bytes(*number.first_chunk()?))
}

/// The host whose packets an entry (`ofp_flow_mod`, header included) is for: its match names the sender.
#[must_use]
pub(super) fn host_let_in(flow_mod: &[u8]) -> Option<HostId> {
    const ADD: u8 = 0;
    /// Class OPENFLOW_BASIC, field ETH_SRC, no mask, 6 bytes.
    const ETH_SRC: [u8; 4] = [0x80, 0x00, 4 << 1, 6];
    if *flow_mod.get(25)? != ADD {
        return None;
    }
    let match_len = u16::from_be_bytes(*flow_mod.get(50..)?.first_chunk()?);
    let mut fields = flow_mod.get(52..48 + usize::from(match_len))?;
    while let Some((header, rest)) = fields.split_first_chunk::<4>() {
        let [.., len] = *header;
        let (value, rest) = rest.split_at_checked(usize::from(len))?;
        if *header == ETH_SRC {
            return HostId::of_mac(value);
        }
        fields = rest;
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rust_openflow::{Action, EthType, FlowMod, Instruction, MacAddr, PacketOut};

    const HOST: HostId = HostId {
        switch: 63,
        host: 1_234,
    };

    fn encoded(message: Message) -> Vec<u8> {
        let mut bytes = Vec::new();
        message.encode(7, &mut bytes).unwrap();
        bytes
    }

    fn packet_in() -> PacketIn {
        let mut bytes = Vec::new();
        let mut template = PacketInTemplate::new().unwrap();
        template.write(HOST, 17, 0xdead_beef, true, &mut bytes);
        match Message::decode(&bytes).unwrap().1 {
            Message::PacketIn(packet) => packet,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_packet_in_shows_an_arp_request_of_the_host_at_its_port() {
        let packet = packet_in();
        assert_eq!((packet.in_port(), packet.table_id), (Some(PortNo(17)), NEW));
        assert_eq!(packet.data.len(), FRAME);
        assert_eq!(packet.data[6..12], HOST.mac());
        assert_eq!(packet.data[12..22], ARP_REQUEST);
        assert_eq!(
            (&packet.data[22..28], &packet.data[28..32]),
            (&HOST.mac()[..], &HOST.address()[..])
        );
    }

    #[test]
    fn a_packet_out_tells_its_packet_behind_any_actions() {
        for actions in [
            vec![],
            vec![Action::output(PortNo::FLOOD)],
            vec![Action::output(PortNo(1)); 3],
        ] {
            let out = PacketOut {
                actions,
                ..PacketOut::new(PortNo(1), packet_in().data)
            };
            assert_eq!(packet_sent(&encoded(out.into())), Some(0xdead_beef));
        }
        let others = PacketOut::new(PortNo(1), vec![0; 60]);
        assert_eq!(packet_sent(&encoded(others.into())), None);
    }

    #[test]
    fn an_entry_that_names_the_sender_tells_the_host() {
        let from = |flow_match: Match| {
            FlowMod::add(
                TableId(2),
                1,
                flow_match,
                vec![Instruction::GotoTable(TableId(3))],
            )
        };
        let here = Match::new().in_port(PortNo(17)).eth_type(EthType::ARP);
        let entry = from(here.clone().eth_src(MacAddr(HOST.mac())));
        assert_eq!(host_let_in(&encoded(entry.clone().into())), Some(HOST));
        let gone = FlowMod {
            command: rust_openflow::FlowCommand::DELETE_STRICT,
            ..entry
        };
        for other in [
            gone,
            from(here.clone()),
            from(here.eth_dst(MacAddr(HOST.mac()))),
        ] {
            assert_eq!(host_let_in(&encoded(other.into())), None);
        }
    }

    #[test]
    fn no_bytes_make_the_readers_panic() {
        let (out, entry) = (
            encoded(PacketOut::new(PortNo(1), packet_in().data).into()),
            encoded(
                FlowMod::add(
                    TableId(0),
                    1,
                    Match::new().eth_src(MacAddr(HOST.mac())),
                    vec![],
                )
                .into(),
            ),
        );
        for len in 0..out.len() {
            assert_eq!(
                packet_sent(&out[..len]).is_some(),
                len >= 24 + 16 + PADDING + 8
            );
        }
        for len in 0..entry.len() {
            let _ = host_let_in(&entry[..len]);
        }
    }
}
