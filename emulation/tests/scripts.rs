//! `payflow-lab mininet`: scripts that know nothing of PayFlow run as they are, and leave nothing behind, however they end.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// As people write them: a controller, switches and links of Mininet's own, and a main program.
const SCRIPT: &str = r#"
import sys
from functools import partial
from mininet.cli import CLI
from mininet.link import TCLink
from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.node import OVSKernelSwitch, RemoteController
from mininet.topo import Topo

class Pair(Topo):
    def build(self, bw):
        s1, s2 = self.addSwitch('s1'), self.addSwitch('s2')
        self.addLink(self.addHost('h1'), s1)
        self.addLink(self.addHost('h2'), s2)
        self.addLink(s1, s2, bw=bw, delay='1ms')

if __name__ == '__main__':
    setLogLevel('info')
    net = Mininet(topo=Pair(int(sys.argv[1])), switch=partial(OVSKernelSwitch, failMode='secure', protocols='OpenFlow10'),
                  link=TCLink, controller=None)
    net.addController('c0', controller=RemoteController, ip='127.0.0.1', port=6633)
    net.start()
    print('LOST', net.pingAll(), flush=True)
    CLI(net)
    net.stop()
    sys.exit(7)
"#;

/// The script under `payflow-lab`, in a process group of its own, as a shell starts it.
fn start(dir: &Path, arguments: &[&str]) -> Child {
    let script = dir.join("pair.py");
    fs::write(&script, SCRIPT).unwrap();
    Command::new(env!("CARGO_BIN_EXE_payflow-lab"))
        .arg("mininet")
        .arg(script)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap()
}

#[test]
fn a_script_of_mininet_runs_as_it_is_and_its_hosts_buy_what_its_links_carry() {
    let dir = tempfile::tempdir().unwrap();
    let mut script = start(dir.path(), &["20"]);
    let commands = "h1 payflow wallet new </dev/null\n\
                    h1 payflow wallet fund </dev/null\n\
                    h1 payflow reserve --to 10.0.0.2 --udp 5201 --rate 15Mbit --for 60s --max-price 0.5 </dev/null\n\
                    h1 payflow reserve --to 10.0.0.2 --udp 5202 --rate 15Mbit --for 60s --max-price 0.5 </dev/null\n\
                    h1 payflow status </dev/null\n\
                    h2 payflow status </dev/null\n\
                    exit\n";
    script
        .stdin
        .take()
        .unwrap()
        .write_all(commands.as_bytes())
        .unwrap();
    let output = script.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let all = format!("{told}\n{}", String::from_utf8_lossy(&output.stderr));
    // The script's own status, and no packet lost right behind `net.start()`.
    assert_eq!(output.status.code(), Some(7), "{all}");
    assert!(told.contains("LOST 0.0"), "{all}");
    // Mininet hands on what hosts tell over its log.
    let bought: Vec<_> = all.lines().filter(|line| line.contains("active")).collect();
    assert!(
        bought.iter().any(|line| line.contains("10.0.0.2:5201")),
        "{all}"
    );
    assert!(
        !bought.iter().any(|line| line.contains("10.0.0.2:5202")),
        "{all}"
    );
    // Another host has another wallet, none here.
    assert!(all.contains("there is no wallet at"), "{all}");
}

#[test]
fn nothing_is_left_of_a_script_that_is_interrupted_ended_or_killed() {
    let dir = tempfile::tempdir().unwrap();
    let before = traces();
    // From a terminal Ctrl-C goes to everybody in the group; the others to the one process that a shell knows. Mininet's command
    // line takes Ctrl-C as the end of a line, and asks for the next: the end of its input is the end of the script.
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        let mut script = start(dir.path(), &["20"]);
        let mut stdout = BufReader::new(script.stdout.take().unwrap());
        // Kept open, so that nothing but the signal ends it.
        let stdin = script.stdin.take();
        let mut line = String::new();
        while !line.starts_with("LOST") {
            line.clear();
            assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "it ended early");
        }
        let family = Family::of(dir.path());
        let seen = family.members();
        for part in [
            "ovs-vswitchd",
            "ovsdb-server",
            "payflow controller",
            "mininet:h1",
        ] {
            let is_there = seen.iter().any(|(_, command)| command.contains(part));
            assert!(is_there, "no {part}: {seen:?}");
        }
        let pid = Pid::from_raw(script.id().try_into().unwrap());
        if signal == Signal::SIGINT {
            killpg(pid, signal).unwrap();
            drop(stdin);
        } else {
            kill(pid, signal).unwrap();
            let status = script.wait().unwrap();
            assert!(!status.success(), "{signal}: {status}");
            drop(stdin);
        }
        script.wait().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let left: Vec<_> = traces().difference(&before).cloned().collect();
            let alive = family.members();
            if left.is_empty() && alive.is_empty() {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "{signal} leaves {left:?}, {alive:?}"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The processes of one script: those that name its directory, and all in its process namespace.
struct Family {
    dir: String,
    namespace: Option<PathBuf>,
}

impl Family {
    fn of(dir: &Path) -> Self {
        let mut family = Self {
            dir: dir.display().to_string(),
            namespace: None,
        };
        let own = fs::read_link("/proc/self/ns/pid").unwrap();
        let members = family.members();
        let mut namespaces = members.iter().filter_map(|(pid, _)| namespace(pid));
        family.namespace = namespaces.find(|it| *it != own);
        assert!(family.namespace.is_some(), "no namespace: {members:?}");
        family
    }

    fn members(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let pid = entry.file_name().to_string_lossy().into_owned();
            let Ok(command) = fs::read(entry.path().join("cmdline")) else {
                continue;
            };
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            let inside = self.namespace.is_some() && namespace(&pid) == self.namespace;
            if inside || command.contains(&self.dir) {
                found.push((pid, command));
            }
        }
        found
    }
}

fn namespace(pid: &str) -> Option<PathBuf> {
    fs::read_link(Path::new("/proc").join(pid).join("ns/pid")).ok()
}

/// What networks leave on a machine where they are not kept apart from it: devices, mounts, files.
fn traces() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for dir in [
        "/run",
        "/run/netns",
        "/run/openvswitch",
        "/sys/class/net",
        "/var/log/openvswitch",
    ] {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        found.extend(entries.map(|entry| entry.path().display().to_string()));
    }
    // What other tests put into /tmp is theirs; Mininet and PayFlow have names of their own.
    let entries = fs::read_dir("/tmp").into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    found.extend(names.filter(|name| name.starts_with("payflow-mn") || name == "c0.log"));
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    found.extend(mounts.lines().map(|line| format!("mount {line}")));
    found
}
