//! The command line of `payflow-lab`.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::{Parser, Subcommand};

use crate::auditor;
use crate::demo;
use crate::experiment::pricing;
use crate::mininet::{Given, Lab, LabConfig, Regular, Topology, script};
use crate::scenario::{self, Scenario};
use crate::selftest;
use crate::simulate;
use crate::table::{Table, mbit, percent};
use crate::topology::{self, Reading, command::TopologyCommand};
use crate::traffic::flow::FlowSpec;
use crate::traffic::recv::{RecvOptions, recv};
use crate::traffic::send::{SendOptions, send};
use crate::traffic::tcp::{self, TcpSendOptions};

/// Above this, the processor and not a queue decides what is lost in an emulation, on any machine.
const LAB_BPS: u64 = 500_000_000;

/// Networks to try PayFlow on: emulated switches, traffic, measurements.
#[derive(Debug, Parser)]
#[command(name = "payflow-lab", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The main job on real switches: pay, be served, be refunded; writes report.json and throughput.svg
    Demo {
        /// Where to write
        #[arg(long, default_value = "target/demo")]
        dir: PathBuf,
    },
    /// Shows that this machine can carry a guarantee at all: hand-written flows, no controller
    Selftest,
    /// Brings a network up and keeps it until the end of standard input, for looking around by hand
    Network {
        /// paper, line, ring or mesh; or whatever `payflow-lab topology show` takes: a file, mn:tree,2, gen:fat-tree,k=4
        #[arg(long, default_value = "paper", value_name = "SOURCE")]
        topology: String,
        /// Switches, for line, ring and mesh
        #[arg(long, default_value_t = 3)]
        switches: u16,
        /// Hosts on each switch, for line, ring and mesh
        #[arg(long, default_value_t = 1)]
        hosts: u16,
        /// Capacity of the trunks, for line, ring and mesh, in Mbit/s
        #[arg(long, default_value_t = 20)]
        trunk_mbit: u64,
        #[command(flatten)]
        reading: Reading,
    },
    /// Runs a Mininet script as it is, with PayFlow's controller, switches and links in its network, in namespaces of its own
    Mininet(script::ScriptArgs),
    /// A scenario on real switches, or an experiment; writes report.json and plots into target/lab/NAME
    #[command(subcommand)]
    Run(Run),
    /// The controller's core under seeds: virtual time, and a network, a ledger and a disk that misbehave on purpose
    Simulate(simulate::SimulateArgs),
    /// Asks a ledger for balances, gas and receipt hashes; the answer is JSON
    Ledger(auditor::AuditorArgs),
    /// Topologies of researchers: what they are, in another format, as a picture
    #[command(subcommand)]
    Topology(TopologyCommand),
    /// Generates and measures traffic; runs inside the hosts of a lab
    #[command(subcommand)]
    Traffic(Traffic),
}

#[derive(Debug, Subcommand)]
enum Run {
    #[command(flatten)]
    Scenario(Scenario),
    /// Congestion pricing against first come, first served at fixed prices, on the GEANT and AT&T backbones, without packets
    Pricing(pricing::PricingArgs),
}

#[derive(Debug, Subcommand)]
enum Traffic {
    /// Sends UDP flows on a schedule; the report is JSON
    Send {
        /// A flow: to=ADDRESS:PORT,rate=10Mbit and, where wanted, name=, stream=, payload=BYTES, burst=PACKETS,
        /// other-rate= (SIGUSR1 changes to it and back), dscp=, from-port=; spoofed: iface=,src-mac=,dst-mac=,src-ip=.
        /// Rates are frame bits per second
        #[arg(long = "flow", required = true)]
        flows: Vec<FlowSpec>,
        /// When to begin, Unix time in milliseconds; at once by default
        #[arg(long = "at")]
        start_unix_ms: Option<u64>,
        /// How long
        #[arg(long = "for", value_parser = duration)]
        duration: Duration,
        /// Shortest sleep; packets due within it leave together
        #[arg(long, value_parser = duration, default_value = "500us")]
        tick: Duration,
        /// Width of the buckets of the series
        #[arg(long, value_parser = duration, default_value = "100ms")]
        bucket: Duration,
    },
    /// Receives UDP flows until SIGINT or SIGTERM; the report is JSON
    Recv {
        /// UDP port to listen on; may be repeated
        #[arg(long = "port", required = true)]
        ports: Vec<u16>,
        /// End at the latest after this time
        #[arg(long = "for", value_parser = duration)]
        duration: Option<Duration>,
        /// Width of the buckets of the series
        #[arg(long, value_parser = duration, default_value = "100ms")]
        bucket: Duration,
    },
    /// Sends one greedy TCP flow; the report is JSON
    TcpSend {
        /// Destination
        #[arg(long)]
        to: SocketAddr,
        /// Source port; 0 is the system's choice
        #[arg(long, default_value_t = 0)]
        from_port: u16,
        /// When to begin, Unix time in milliseconds; at once by default
        #[arg(long = "at")]
        start_unix_ms: Option<u64>,
        /// How long
        #[arg(long = "for", value_parser = duration)]
        duration: Duration,
        /// Congestion control
        #[arg(long, default_value = "cubic")]
        congestion: String,
        /// Width of the buckets of the series
        #[arg(long, value_parser = duration, default_value = "100ms")]
        bucket: Duration,
    },
    /// Receives one TCP flow to its end; the report is JSON
    TcpRecv {
        /// TCP port to listen on
        #[arg(long)]
        port: u16,
        /// Width of the buckets of the series
        #[arg(long, value_parser = duration, default_value = "100ms")]
        bucket: Duration,
    },
}

/// Runs the command that the process was started with.
///
/// # Errors
/// What the command met, or that a bar was missed.
pub fn run() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Selftest => run_selftest(),
        Command::Network {
            topology,
            switches,
            hosts,
            trunk_mbit,
            reading,
        } => run_network(
            &topology,
            &reading,
            Regular {
                switches,
                hosts,
                trunk_bps: trunk_mbit.saturating_mul(1_000_000),
            },
        ),
        Command::Demo { dir } => run_demo(dir),
        Command::Mininet(args) => script::run(&args),
        Command::Run(Run::Scenario(scenario)) => scenario::run(&scenario),
        Command::Run(Run::Pricing(args)) => pricing::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Ledger(args) => print(&auditor::audit(&args)?),
        Command::Topology(command) => topology::command::run(&command),
        Command::Traffic(traffic) => run_traffic(traffic),
    }
}

fn run_demo(dir: PathBuf) -> anyhow::Result<()> {
    let report = demo::run(&demo::DemoOptions { dir: dir.clone() })?;
    print!("{}", report.tables());
    println!("\nreport  {}", dir.join("report.json").display());
    println!("plot    {}", dir.join("throughput.svg").display());
    if report.passed {
        return Ok(());
    }
    bail!("a bar was missed; see the table")
}

fn run_network(topology: &str, reading: &Reading, regular: Regular) -> anyhow::Result<()> {
    let topology = match topology {
        "paper" => Topology::default(),
        "line" => Topology::Line(regular),
        "ring" => Topology::Ring(regular),
        "mesh" => Topology::Mesh(regular),
        source => Topology::Given(given(source, reading)?),
    };
    let lab = Lab::start(LabConfig {
        topology,
        exclusive: false,
        ..LabConfig::default()
    })?;
    let info = lab.info();
    println!(
        "Open vSwitch {}, {} datapath; switches look for a controller at 127.0.0.1:6653",
        info.switch_version, info.datapath
    );
    let mut table = Table::new(["port", "number", "leads to", "Mbit/s"]);
    for port in info.switches.iter().flat_map(|switch| &switch.ports) {
        let capacity = port.capacity_bps.map_or_else(|| "unknown".to_owned(), mbit);
        table.row([
            port.name.clone(),
            port.number.to_string(),
            port.peer_interface.clone(),
            capacity,
        ]);
    }
    print!("{table}");
    for host in &info.hosts {
        println!("{}: {} {}", host.name, host.ip, host.mac);
    }
    if let Some(pid) = lab.namespace_pid() {
        println!(
            "a shell where the controller belongs:  sudo nsenter --target {pid} --net --mount --pid bash"
        );
        println!("in a host, from there:                 mnexec -a $(pgrep -f 'mininet:h1$') bash");
    }
    println!("the end of standard input (Ctrl-D) ends it");
    std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink())?;
    Ok(())
}

/// A topology from elsewhere, with its names beside those of the lab.
fn given(source: &str, reading: &Reading) -> anyhow::Result<Given> {
    let map = topology::load(source, reading)?;
    let given = Given::new(&map).map_err(anyhow::Error::msg)?;
    eprint!("{}", map.notes);
    for (letter, nodes) in [
        ('s', map.switches().collect::<Vec<_>>()),
        ('h', map.hosts().collect()),
    ] {
        for (node, number) in nodes.into_iter().zip(1..) {
            println!("{letter}{number}: {}", map.nodes[node].name);
        }
    }
    if given.fastest_bps() > LAB_BPS {
        eprintln!(
            "trunks of up to {} Mbit/s are more than an emulation carries; --scale-to 40Mbit makes them slower in proportion",
            mbit(given.fastest_bps())
        );
    }
    Ok(given)
}

fn run_traffic(command: Traffic) -> anyhow::Result<()> {
    match command {
        Traffic::Send {
            flows,
            start_unix_ms,
            duration,
            tick,
            bucket,
        } => print(&send(&SendOptions {
            flows,
            start_unix_ms,
            duration,
            tick,
            bucket,
        })?),
        Traffic::Recv {
            ports,
            duration,
            bucket,
        } => print(&recv(&RecvOptions {
            ports,
            duration,
            bucket,
        })?),
        Traffic::TcpSend {
            to,
            from_port,
            start_unix_ms,
            duration,
            congestion,
            bucket,
        } => print(&tcp::send(&TcpSendOptions {
            to,
            from_port,
            start_unix_ms,
            duration,
            congestion,
            bucket,
        })?),
        Traffic::TcpRecv { port, bucket } => print(&tcp::recv(port, bucket)?),
    }
}

fn run_selftest() -> anyhow::Result<()> {
    let seen = selftest::run()?;
    println!("{}; bottleneck 20 Mbit/s, reserved 10 Mbit/s", seen.switch);
    let mut table = Table::new(["", "offered Mbit/s", "got Mbit/s", "loss", "p99 delay ms"]);
    for (phase, (reserved, flood)) in [("before", &seen.before), ("after", &seen.after)] {
        for flow in [reserved, flood] {
            table.row([
                format!("{phase}, {}", flow.name),
                mbit(flow.offered_bps),
                mbit(flow.goodput_bps),
                percent(flow.loss),
                format!("{:.1}", flow.delay_ms.p99),
            ]);
        }
    }
    print!("{table}");
    for (place, packets) in seen.drops.iter().filter(|(_, packets)| **packets > 0) {
        println!("{packets} packets dropped at {place}");
    }
    if seen.passed() {
        println!("passed: reserved traffic keeps its rate, the rest shares what is left");
        return Ok(());
    }
    bail!(
        "this machine does not carry the guarantee: look for a busy processor, or an Open vSwitch without its queues"
    )
}

fn print(report: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, report)?;
    out.write_all(b"\n")?;
    Ok(())
}

/// `10s`, `500ms`, `200us` or `2m`, whole numbers only.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number
        .parse()
        .map_err(|error| format!("{text:?}: {error}"))?;
    match unit {
        "us" => Ok(Duration::from_micros(number)),
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => number
            .checked_mul(60)
            .map(Duration::from_secs)
            .ok_or_else(|| format!("{text:?} is too long")),
        _ => Err(format!("{text:?} needs a unit: us, ms, s or m")),
    }
}
