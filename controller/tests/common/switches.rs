//! A row of real Open vSwitch bridges of the test's own: private database, userspace datapath without devices, no
//! privileges. Hosts are ports into which frames can be injected.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use nix::sys::signal::Signal;

use super::PATIENCE;
use super::process::Program;

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// How the line of an entry begins that is of no reservation.
const INFRASTRUCTURE: &str = "cookie=0x5000000000000000,";

/// What `ovs-ofctl dump-flows` tells of an entry's past and of the time it has left.
const FLEETING: [&str; 5] = [
    "duration=",
    "n_packets=",
    "n_bytes=",
    "hard_timeout=",
    "idle_age=",
];

/// What is on the switches for one reservation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remains {
    /// Numbers of reservations in cookies, with the bridge.
    pub(crate) entries: BTreeSet<(u64, String)>,
    /// Numbers of reservations with a meter.
    pub(crate) meters: BTreeSet<u64>,
}

/// Bridges `s1` to `sN` in a row, datapath ids 1 to N; each with hosts.
pub(crate) struct Switches {
    dir: PathBuf,
    count: u8,
    hosts: u8,
    /// Where the daemon of now has its sockets.
    run_dir: PathBuf,
    // Dropped in this order, so that the daemon does not miss its database.
    daemon: Option<Program>,
    databases: Vec<Program>,
}

impl Switches {
    pub(crate) fn start(dir: &Path, count: u8, hosts: u8) -> Self {
        Self::start_with(dir, count, hosts, "MinProtocol = TLSv1.2")
    }

    /// With a line of OpenSSL's configuration about TLS.
    pub(crate) fn start_with(dir: &Path, count: u8, hosts: u8, openssl: &str) -> Self {
        let openssl = format!(
            "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = tls\n[tls]\n{openssl}\n"
        );
        std::fs::write(dir.join("openssl.cnf"), openssl).unwrap();
        run(dir, "ovsdb-tool", &["create", "conf.db", SCHEMA]);
        let database = &["conf.db", "--remote=punix:db.sock", "--unixctl=db.ctl"];
        let mut switches = Self {
            dir: dir.to_owned(),
            count,
            hosts,
            run_dir: dir.to_owned(),
            daemon: None,
            databases: vec![Program::start(dir, "ovsdb-server", database, "ovsdb.log")],
        };
        switches.wait_for("db.sock");
        switches.vsctl("--no-wait init");
        switches.launch();
        let words: String = (1..=count).map(|n| switches.bridge(n)).collect();
        switches.vsctl(words.trim_start_matches(" --"));
        switches
    }

    /// The words that make a bridge.
    fn bridge(&self, n: u8) -> String {
        let mut words = format!(
            " -- add-br s{n} -- set bridge s{n} datapath_type=dummy fail_mode=secure protocols=OpenFlow13 \
             other-config:datapath-id={n:016x}"
        );
        for host in 1..=self.hosts {
            words += &host_port(n, host, u32::from(host));
        }
        for (other, port) in self.trunks(n) {
            words += &trunk_port(n, other, port);
        }
        words
    }

    /// A bridge is deleted, and one like it made under its name and datapath id, for the same controller.
    pub(crate) fn replace(&self, n: u8, controller: SocketAddr) {
        self.vsctl(&format!("del-br s{n}"));
        let bridge = self.bridge(n);
        self.vsctl(&format!(
            "{} -- {}",
            bridge.trim_start_matches(" --"),
            controller_of(n, "tcp", controller)
        ));
    }

    /// The port of a host is made anew under another number.
    pub(crate) fn renumber_host(&self, n: u8, host: u8, number: u32) {
        let port = host_port(n, host, number);
        self.vsctl(&format!("del-port s{n}h{host}{port}"));
    }

    /// The port towards another switch is made anew under another number.
    pub(crate) fn renumber_trunk(&self, n: u8, other: u8, number: u32) {
        let port = trunk_port(n, other, number);
        self.vsctl(&format!("del-port s{n}t{other}{port}"));
    }

    /// SIGSTOP to the daemon, whose connections stand, and others like its bridges, under the same datapath ids, on a
    /// database of their own. Gives the first daemon. [`Self::dump`] and what uses it ask the others from now on.
    pub(crate) fn supersede(&mut self) -> Program {
        let first = self.daemon.take().unwrap();
        first.signal(Signal::SIGSTOP);
        self.run_dir = self.dir.join("second");
        std::fs::create_dir(&self.run_dir).unwrap();
        std::fs::copy(self.dir.join("conf.db"), self.run_dir.join("conf.db")).unwrap();
        let run_dir = format!("OVS_RUNDIR={}", self.run_dir.display());
        let database = [
            &run_dir,
            "ovsdb-server",
            "second/conf.db",
            "--remote=punix:db.sock",
            "--unixctl=db.ctl",
        ];
        self.databases
            .push(Program::start(&self.dir, "env", &database, "ovsdb-2.log"));
        self.wait_for("second/db.sock");
        self.launch();
        first
    }

    /// Starts the daemon, and does not wait for it.
    pub(crate) fn launch(&mut self) {
        let run_dir = format!("OVS_RUNDIR={}", self.run_dir.display());
        let database = format!("unix:{}", self.run_dir.join("db.sock").display());
        let daemon = &[
            "OPENSSL_CONF=openssl.cnf",
            &run_dir,
            "ovs-vswitchd",
            &database,
            "--enable-dummy",
            "--disable-system",
            "--unixctl=vs.ctl",
        ];
        self.daemon = Some(Program::start(&self.dir, "env", daemon, "ovs.log"));
    }

    /// SIGKILL: every switch has forgotten everything.
    pub(crate) fn kill(&mut self) {
        self.daemon.take().unwrap().kill();
        for n in 1..=self.count {
            // What it left of its sockets would be taken for a living switch.
            std::fs::remove_file(self.management(n)).unwrap();
        }
    }

    /// Whether every switch can be asked.
    pub(crate) fn are_up(&self) -> bool {
        (1..=self.count).all(|n| UnixStream::connect(self.management(n)).is_ok())
    }

    fn management(&self, n: u8) -> PathBuf {
        self.run_dir.join(format!("s{n}.mgmt"))
    }

    /// The neighbours of a bridge, and the port to each.
    fn trunks(&self, n: u8) -> Vec<(u8, u32)> {
        [n.checked_sub(1), n.checked_add(1)]
            .into_iter()
            .flatten()
            .filter(|other| (1..=self.count).contains(other))
            .map(|other| (other, 100 + u32::from(other)))
            .collect()
    }

    /// What an operator writes of the ports.
    pub(crate) fn config(&self, capacity: &str) -> String {
        let mut text = String::new();
        for n in 1..=self.count {
            let hosts = (1..=self.hosts).map(|host| (format!("s{n}h{host}"), "edge"));
            let trunks = self
                .trunks(n)
                .into_iter()
                .map(|(other, _)| (format!("s{n}t{other}"), "trunk"));
            for (name, role) in hosts.chain(trunks) {
                text += &format!(
                    "[[port]]\nswitch = \"{n:016x}\"\nname = \"{name}\"\ncapacity = \"{capacity}\"\nrole = \"{role}\"\n"
                );
            }
        }
        text
    }

    pub(crate) fn count(&self) -> usize {
        usize::from(self.count)
    }

    /// Points every switch at a controller, over plain TCP.
    pub(crate) fn connect(&self, controller: SocketAddr) {
        self.connect_over("tcp", controller);
    }

    /// Points every switch at a controller: over `tcp`, or over `ssl` with what it was given to prove itself with.
    pub(crate) fn connect_over(&self, transport: &str, controller: SocketAddr) {
        let words: Vec<_> = (1..=self.count)
            .map(|n| controller_of(n, transport, controller))
            .collect();
        self.vsctl(&words.join(" -- "));
    }

    /// Key, certificate and the CA of controllers, from the next connection on.
    pub(crate) fn prove_with(&self, files: &[PathBuf; 3]) {
        let [key, certificate, authority] = files.each_ref().map(|file| file.display());
        self.vsctl(&format!(
            "del-ssl -- set-ssl {key} {certificate} {authority}"
        ));
    }

    /// Every switch leaves its controller.
    pub(crate) fn disconnect(&self) {
        let words: Vec<_> = (1..=self.count)
            .map(|n| format!("del-controller s{n}"))
            .collect();
        self.vsctl(&words.join(" -- "));
    }

    /// The address of a host.
    pub(crate) fn address(switch: u8, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, switch, host)
    }

    /// Every host says who it is: a gratuitous ARP request (RFC 5227 section 3).
    pub(crate) fn announce(&self) {
        for n in 1..=self.count {
            for host in 1..=self.hosts {
                self.inject(n, host, &announcement(n, host));
            }
        }
    }

    /// A frame comes in at a host's port.
    pub(crate) fn inject(&self, switch: u8, host: u8, frame: &[u8]) {
        let (port, frame) = (format!("s{switch}h{host}"), hex::encode(frame));
        // Only what begins with a slash is taken for a path.
        let daemon = self.run_dir.join("vs.ctl").to_string_lossy().into_owned();
        let words = ["-t", &daemon, "netdev-dummy/receive", &port, &frame];
        self.run("ovs-appctl", &words);
    }

    /// Everything on the switches that belongs to reservations.
    pub(crate) fn remains(&self) -> Remains {
        let mut remains = Remains::default();
        for n in 1..=self.count {
            let bridge = format!("s{n}");
            for line in self.dump("dump-flows", &bridge).lines() {
                let cookie =
                    field(line, "cookie=0x").map(|hex| u64::from_str_radix(hex, 16).unwrap());
                let number = cookie.map_or(0, |cookie| (cookie >> 16) & 0xff_ffff_ffff);
                if number != 0 {
                    remains.entries.insert((number, bridge.clone()));
                }
            }
            for line in self.dump("dump-meters", &bridge).lines() {
                let meter = field(line, "meter=").and_then(|digits| digits.parse::<u64>().ok());
                if let Some(number) = meter.and_then(|meter| meter.checked_sub(0x1_0000)) {
                    remains.meters.insert(number);
                }
            }
        }
        remains
    }

    /// How many entries the switches hold, whosever.
    pub(crate) fn count_entries(&self) -> usize {
        let of = |n: u8| {
            let said = self.dump("dump-aggregate", &format!("s{n}"));
            let (_, count) = said.split_once("flow_count=").unwrap();
            count.trim().parse::<usize>().unwrap()
        };
        (1..=self.count).map(of).sum()
    }

    /// Every entry and meter of reservations, without what counts and ages.
    pub(crate) fn sold(&self) -> BTreeSet<String> {
        self.held(|entry| !entry.starts_with(INFRASTRUCTURE), 0x1_0000)
    }

    /// Every entry and meter, without what counts and ages.
    pub(crate) fn tables(&self) -> BTreeSet<String> {
        self.held(|_| true, 0)
    }

    /// The entries of ours that are asked for, and the meters from this one on.
    fn held(&self, is_asked: impl Fn(&str) -> bool, meters_from: u32) -> BTreeSet<String> {
        let mut held = BTreeSet::new();
        for n in 1..=self.count {
            let bridge = format!("s{n}");
            for line in self.dump("dump-flows", &bridge).lines() {
                let line = line.trim_start();
                if !line.starts_with("cookie=0x50") || !is_asked(line) {
                    continue;
                }
                let parts = line.split(", ").flat_map(|part| part.split(' '));
                let lasting = parts.filter(|part| !FLEETING.iter().any(|it| part.starts_with(it)));
                let lasting: Vec<_> = lasting.collect();
                held.insert(format!("{bridge} {}", lasting.join(" ")));
            }
            // A meter is a line, and one more for each of its bands.
            for text in self.dump("dump-meters", &bridge).split("meter=").skip(1) {
                let number = text.split(' ').next().and_then(|it| it.parse::<u32>().ok());
                if number.is_some_and(|number| number >= meters_from) {
                    held.insert(format!("{bridge} meter={}", text.trim()));
                }
            }
        }
        held
    }

    /// How many rows a table of the database has.
    pub(crate) fn rows(&self, table: &str) -> usize {
        let words = [
            "--db=unix:db.sock",
            "--columns=_uuid",
            "--no-headings",
            "--format=csv",
            "list",
            table,
        ];
        self.run("ovs-vsctl", &words).lines().count()
    }

    /// The entries of one reservation as they are, without what counts and ages.
    pub(crate) fn entries_of(&self, number: u64) -> Vec<String> {
        let mut entries = Vec::new();
        for n in 1..=self.count {
            let bridge = format!("s{n}");
            let cookie = format!("cookie=0x50{number:010x}0000,");
            for line in self.dump("dump-flows", &bridge).lines() {
                if line.trim_start().starts_with(&cookie) {
                    let kept: Vec<_> = line.split(", ").collect();
                    entries.push(format!("{bridge}: {}", kept.join(", ")));
                }
            }
        }
        entries
    }

    fn dump(&self, what: &str, bridge: &str) -> String {
        let target = format!("unix:{}/{bridge}.mgmt", self.run_dir.display());
        self.run("ovs-ofctl", &["-O", "OpenFlow13", what, &target])
    }

    fn vsctl(&self, words: &str) {
        let words: Vec<_> = ["--db=unix:db.sock", "--timeout=20"]
            .into_iter()
            .chain(words.split_whitespace())
            .collect();
        self.run("ovs-vsctl", &words);
    }

    fn run(&self, program: &str, args: &[&str]) -> String {
        run(&self.dir, program, args)
    }

    fn wait_for(&self, file: &str) {
        let begun = Instant::now();
        while !self.dir.join(file).exists() {
            assert!(begun.elapsed() < PATIENCE, "Open vSwitch made no {file}");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// The words that make the port of a host.
fn host_port(n: u8, host: u8, number: u32) -> String {
    format!(
        " -- add-port s{n} s{n}h{host} -- set interface s{n}h{host} type=dummy ofport_request={number}"
    )
}

/// The words that make the port of a bridge towards another.
fn trunk_port(n: u8, other: u8, number: u32) -> String {
    format!(
        " -- add-port s{n} s{n}t{other} -- set interface s{n}t{other} type=patch \
         options:peer=s{other}t{n} ofport_request={number}"
    )
}

/// The words that point a bridge at a controller.
fn controller_of(n: u8, transport: &str, controller: SocketAddr) -> String {
    format!(
        "set-controller s{n} {transport}:{controller} -- set controller s{n} max_backoff=1000 connection_mode=out-of-band"
    )
}

fn run(dir: &Path, program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .current_dir(dir)
        .envs(["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"].map(|name| (name, dir)))
        .output();
    let output =
        output.unwrap_or_else(|e| panic!("{program}: {e}: `make setup` installs Open vSwitch"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {args:?}: {} {said} {complaint}",
        output.status
    );
    said
}

fn field<'t>(line: &'t str, key: &str) -> Option<&'t str> {
    line.trim_start()
        .strip_prefix(key)?
        .split([',', ' '])
        .next()
}

fn announcement(switch: u8, host: u8) -> Vec<u8> {
    let mac = [2, 0, 0, 0, switch, host];
    let address = Switches::address(switch, host).octets();
    let mut frame = vec![0xff; 6];
    frame.extend(mac);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(address);
    frame.extend([0; 6]);
    frame.extend(address);
    frame.resize(60, 0);
    frame
}
