//! A row of real Open vSwitch bridges: private database, userspace datapath without devices, no privileges.
//! Hosts are ports into which frames can be injected.

use std::{
    net::{Ipv4Addr, SocketAddr},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, bail};

use crate::program::{PATIENCE, Program};

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// Bridges `s1` to `sN`, datapath ids 1 to N, each connected with the next; each with hosts at ports 1 to `hosts`.
#[derive(Debug)]
pub struct Bridges {
    dir: PathBuf,
    count: u8,
    hosts: u8,
    /// `ovs-vswitchd`; dropped before its database.
    pub daemon: Program,
    _database: Program,
}

impl Bridges {
    /// Starts them, without a controller.
    ///
    /// # Errors
    /// Open vSwitch is not installed, or says no.
    pub fn start(dir: &Path, count: u8, hosts: u8) -> anyhow::Result<Self> {
        run(dir, "ovsdb-tool", &["create", "conf.db", SCHEMA])?;
        let remote = ["conf.db", "--remote=punix:db.sock", "--unixctl=db.ctl"];
        let database = Program::start(dir, "ovsdb-server", &remote, "ovsdb.log")?;
        let begun = Instant::now();
        while !dir.join("db.sock").exists() {
            if begun.elapsed() > PATIENCE {
                bail!("ovsdb-server does not listen: {}", database.log());
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        vsctl(dir, "--no-wait init")?;
        let daemon = start_daemon(dir)?;
        let bridges = Self {
            dir: dir.to_owned(),
            count,
            hosts,
            daemon,
            _database: database,
        };
        let mut words = Vec::new();
        for n in 1..=count {
            words.push(format!(
                "add-br s{n} -- set bridge s{n} datapath_type=dummy fail_mode=secure protocols=OpenFlow13 \
                 other-config:datapath-id={n:016x}"
            ));
            words.extend((1..=hosts).map(|host| {
                format!("add-port s{n} s{n}h{host} -- set interface s{n}h{host} type=dummy ofport_request={host}")
            }));
            words.extend(bridges.trunks(n).map(|(other, port)| {
                format!(
                    "add-port s{n} s{n}t{other} -- set interface s{n}t{other} type=patch options:peer=s{other}t{n} \
                     ofport_request={port}"
                )
            }));
        }
        vsctl(dir, &words.join(" -- "))?;
        Ok(bridges)
    }

    /// The neighbours of a bridge, and the port to each.
    fn trunks(&self, n: u8) -> impl Iterator<Item = (u8, u32)> + use<> {
        let count = self.count;
        [n.checked_sub(1), n.checked_add(1)]
            .into_iter()
            .flatten()
            .filter(move |other| (1..=count).contains(other))
            .map(|other| (other, 100 + u32::from(other)))
    }

    /// What an operator writes of them in `payflow.toml`.
    #[must_use]
    pub fn config(&self, capacity: &str) -> String {
        let mut text = String::new();
        for n in 1..=self.count {
            let hosts = (1..=self.hosts).map(|host| (format!("s{n}h{host}"), "edge"));
            let trunks = self
                .trunks(n)
                .map(|(other, _)| (format!("s{n}t{other}"), "trunk"));
            for (name, role) in hosts.chain(trunks) {
                text += &format!(
                    "[[port]]\nswitch = \"{n:016x}\"\nname = \"{name}\"\ncapacity = \"{capacity}\"\nrole = \"{role}\"\n"
                );
            }
        }
        text
    }

    /// Points every bridge at a controller.
    ///
    /// # Errors
    /// Open vSwitch says no.
    pub fn connect(&self, controller: SocketAddr) -> anyhow::Result<()> {
        let words: Vec<_> = (1..=self.count)
            .map(|n| {
                format!("set-controller s{n} tcp:{controller} -- set controller s{n} max_backoff=1000 connection_mode=out-of-band")
            })
            .collect();
        vsctl(&self.dir, &words.join(" -- "))
    }

    /// Every host says who it is: a gratuitous ARP request (RFC 5227 section 3).
    ///
    /// # Errors
    /// Open vSwitch says no.
    pub fn announce(&self) -> anyhow::Result<()> {
        // Only what begins with a slash is taken for a path.
        let daemon = self.dir.join("vs.ctl").to_string_lossy().into_owned();
        for n in 1..=self.count {
            for host in 1..=self.hosts {
                let frame: String = announcement(n, host)
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                let words = [
                    "-t",
                    &daemon,
                    "netdev-dummy/receive",
                    &format!("s{n}h{host}"),
                    &frame,
                ];
                run(&self.dir, "ovs-appctl", &words)?;
            }
        }
        Ok(())
    }

    /// No bridge has a controller any more.
    ///
    /// # Errors
    /// Open vSwitch says no.
    pub fn disconnect(&self) -> anyhow::Result<()> {
        let words: Vec<_> = (1..=self.count)
            .map(|n| format!("del-controller s{n}"))
            .collect();
        vsctl(&self.dir, &words.join(" -- "))
    }

    /// SIGKILL to `ovs-vswitchd`: every table is empty. The bridges are there again when [`Self::launch`] has returned and
    /// [`Self::management`] answers.
    ///
    /// # Errors
    /// What it left behind cannot be removed.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.daemon.kill()?;
        for n in 1..=self.count {
            // What it left of its sockets would be taken for a living switch.
            std::fs::remove_file(self.management_path(n))?;
        }
        Ok(())
    }

    /// Starts `ovs-vswitchd` again, and does not wait for it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn launch(&mut self) -> anyhow::Result<()> {
        self.daemon = start_daemon(&self.dir)?;
        Ok(())
    }

    /// Connections to all bridges from the side of their management, in order, as soon as all of them accept one.
    ///
    /// # Errors
    /// One does not for too long.
    pub fn management(&self) -> anyhow::Result<Vec<UnixStream>> {
        let begun = Instant::now();
        (1..=self.count)
            .map(|n| {
                loop {
                    match UnixStream::connect(self.management_path(n)) {
                        Ok(stream) => return Ok(stream),
                        Err(error) if begun.elapsed() > PATIENCE => {
                            return Err(error).with_context(|| {
                                format!("s{n} is not there: {}", self.daemon.log())
                            });
                        }
                        Err(_) => std::thread::sleep(std::time::Duration::from_millis(1)),
                    }
                }
            })
            .collect()
    }

    fn management_path(&self, n: u8) -> PathBuf {
        self.dir.join(format!("s{n}.mgmt"))
    }

    /// How many bridges there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.into()
    }

    /// How many hosts there are.
    #[must_use]
    pub fn hosts(&self) -> usize {
        usize::from(self.count) * usize::from(self.hosts)
    }

    /// The address of a host.
    #[must_use]
    pub fn address(switch: u8, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 200, switch, host)
    }
}

fn start_daemon(dir: &Path) -> anyhow::Result<Program> {
    let args = [
        "unix:db.sock",
        "--enable-dummy",
        "--disable-system",
        "--unixctl=vs.ctl",
    ];
    Program::start(dir, "ovs-vswitchd", &args, "ovs.log")
}

fn vsctl(dir: &Path, words: &str) -> anyhow::Result<()> {
    let words: Vec<_> = ["--db=unix:db.sock", "--timeout=20"]
        .into_iter()
        .chain(words.split_whitespace())
        .collect();
    run(dir, "ovs-vsctl", &words)
}

fn run(dir: &Path, program: &str, args: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program)
        .args(args)
        .current_dir(dir)
        .envs(["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"].map(|name| (name, dir)))
        .output()
        .with_context(|| format!("{program}: `make setup` installs Open vSwitch"))?;
    if !output.status.success() {
        bail!(
            "{program} {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

fn announcement(switch: u8, host: u8) -> Vec<u8> {
    let mac = [2, 0, 0, 0, switch, host];
    let address = Bridges::address(switch, host).octets();
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
