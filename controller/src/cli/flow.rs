//! What is asked for: which packets, how fast, for how long.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    time::Duration,
};

use clap::{ArgGroup, Args, ValueEnum};
use payflow_payment::{Address, Amount};
use payflow_qos::{BitRate, Bounds, Class};

use super::{
    error::CliError,
    units::{parse_duration, parse_rate},
    wallet::HostWallet,
};
use crate::core::{
    document::QuoteRequest,
    network::{PortRange, Protocol},
    payload::Payload,
};
use crate::wall;

/// Which packets, how fast, for how long.
#[derive(Clone, Debug, Args)]
#[command(group(ArgGroup::new("protocol").required(true).args(["udp", "tcp"])))]
#[command(group(ArgGroup::new("speed").required(true).args(["rate", "payload"])))]
pub(super) struct FlowArgs {
    /// Destination: an IP address.
    #[arg(long, value_name = "IP", value_parser = parse_ip)]
    to: IpAddr,
    /// Source; by default the address this host is seen with.
    #[arg(long, value_name = "IP", value_parser = parse_ip)]
    from: Option<IpAddr>,
    /// UDP packets to this destination port, or to a range of them such as 5000-5010.
    #[arg(long, value_name = "PORTS", value_parser = parse_ports)]
    udp: Option<PortRange>,
    /// TCP packets to this destination port, or to a range of them such as 5000-5010.
    #[arg(long, value_name = "PORTS", value_parser = parse_ports)]
    tcp: Option<PortRange>,
    /// Only packets from this source port, or from a range of them.
    #[arg(long, value_name = "PORTS", value_parser = parse_ports)]
    source_port: Option<PortRange>,
    /// Rate in frame bits per second, such as 10Mbit: payload plus 42 bytes per UDP packet, 54 or more per TCP packet.
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    rate: Option<BitRate>,
    /// In place of --rate: payload bits per second, such as 10Mbit, in packets of --packet bytes. Headers come on top.
    #[arg(long, value_name = "RATE", value_parser = parse_rate, requires = "packet")]
    payload: Option<BitRate>,
    /// Payload bytes of each packet.
    #[arg(long, value_name = "BYTES", requires = "payload")]
    packet: Option<u32>,
    /// The most switches that the path may lead through.
    #[arg(long, value_name = "NUMBER")]
    max_hops: Option<u32>,
    /// The most milliseconds that packets may wait in buffers on the way.
    #[arg(long, value_name = "MS")]
    max_delay: Option<u64>,
    /// How long, such as 30s or 1h30m.
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    duration: Duration,
    /// Begin so much later, such as 2h; by default at once.
    #[arg(long = "in", value_name = "TIME", value_parser = parse_duration)]
    later: Option<Duration>,
    /// steady for constant rates, elastic for TCP and bursts; by default what suits the protocol.
    #[arg(long)]
    class: Option<SoldClass>,
    /// Where refunds go; by default back to the wallet.
    #[arg(long, value_name = "ADDRESS")]
    refund_to: Option<String>,
}

/// The classes that are sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SoldClass {
    Steady,
    Elastic,
}

impl FlowArgs {
    fn payload(&self) -> Option<Payload> {
        let (rate, packet_bytes) = self.payload.zip(self.packet)?;
        Some(Payload {
            rate_bps: rate.bps(),
            packet_bytes,
        })
    }

    pub(super) fn request(&self, wallet: &HostWallet, max_price: Option<Amount>) -> QuoteRequest {
        let (protocol, port) = match (self.udp, self.tcp) {
            (Some(port), _) => (Protocol::Udp, Some(port)),
            (None, port) => (Protocol::Tcp, port),
        };
        QuoteRequest {
            source: self.from,
            destination: self.to,
            protocol,
            source_port: self.source_port,
            destination_port: port,
            rate_bps: self.rate.map_or(0, BitRate::bps),
            payload: self.payload(),
            bounds: Bounds {
                hops: self.max_hops,
                delay_ms: self.max_delay,
            },
            start_at: self.later.map(wall::later),
            duration_s: self.duration.as_secs(),
            class: self.class.map(|class| match class {
                SoldClass::Steady => Class::Steady,
                SoldClass::Elastic => Class::Elastic,
            }),
            max_price,
            refund_to: self
                .refund_to
                .as_deref()
                .map_or_else(|| wallet.address(), Address::new),
        }
    }
}

/// The address that packets from this host to that one have. No packet is sent.
pub(super) fn own_address(to: IpAddr) -> Result<IpAddr, CliError> {
    let any: IpAddr = if to.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    UdpSocket::bind((any, 0))
        .and_then(|socket| {
            socket.connect((to, 9))?;
            Ok(socket.local_addr()?.ip())
        })
        .map_err(|error| {
            CliError::Usage(format!(
                "this host's own address towards {to} is not known ({error}); say it with --from IP"
            ))
        })
}

fn parse_ports(text: &str) -> Result<PortRange, String> {
    let ports: PortRange = text.parse()?;
    if ports.contains(0) {
        return Err("port 0 names no flow; ports are 1 to 65535".to_owned());
    }
    Ok(ports)
}

fn parse_ip(text: &str) -> Result<IpAddr, String> {
    text.parse()
        .map_err(|_| "write an IP address, such as 10.0.0.4".to_owned())
}
