//! An Open vSwitch of the test's own: private database, no kernel, no privileges, gone at the end.
//! The in-memory switch of `payflow-emulation` is compared with it too.

#![allow(dead_code)] // each test uses a part

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rust_openflow::*;

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
const PATIENCE: Duration = Duration::from_secs(20);

/// A running switch with one bridge `br0` and ports 1 to 3, datapath id 0xa1.
pub(crate) struct OpenVswitch {
    dir: PathBuf,
    processes: Vec<Child>,
}

impl OpenVswitch {
    pub(crate) fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("ofp-{}-{count}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let mut switch = Self {
            dir,
            processes: Vec::new(),
        };
        switch.run("ovsdb-tool", &["create", "conf.db", SCHEMA]);
        switch.spawn(
            "ovsdb-server",
            &["conf.db", "--remote=punix:db.sock", "--unixctl=db.ctl"],
        );
        switch.wait_for("db.sock");
        switch.run("ovs-vsctl", &["--db=unix:db.sock", "--no-wait", "init"]);
        switch.spawn_switch();
        let bridge = "--db=unix:db.sock --timeout=20 add-br br0 \
            -- set bridge br0 datapath_type=dummy fail_mode=secure protocols=OpenFlow13 \
               other-config:datapath-id=00000000000000a1 \
            -- add-port br0 p1 -- set interface p1 type=dummy ofport_request=1 \
            -- add-port br0 p2 -- set interface p2 type=dummy ofport_request=2 \
            -- add-port br0 p3 -- set interface p3 type=dummy ofport_request=3";
        switch.run("ovs-vsctl", &bridge.split_whitespace().collect::<Vec<_>>());
        switch.wait_for("br0.mgmt");
        switch
    }

    fn spawn_switch(&mut self) {
        self.spawn(
            "ovs-vswitchd",
            &[
                "unix:db.sock",
                "--enable-dummy",
                "--disable-system",
                "--unixctl=vs.ctl",
            ],
        );
    }

    /// Kills the switch and starts it anew; its database, and so its bridge and ports, stay.
    pub(crate) fn restart(&mut self) {
        if let Some(mut process) = self.processes.pop() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
        for left_behind in ["br0.mgmt", "br0.snoop", "vs.ctl"] {
            let _ = std::fs::remove_file(self.dir.join(left_behind));
        }
        self.spawn_switch();
        self.wait_for("br0.mgmt");
    }

    /// A frame arrives on a port. What the data path has learned from it is forgotten at once, so
    /// that entries have counted it and the next frame meets the entries of then.
    pub(crate) fn inject(&self, port: &str, frame: &[u8]) {
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        self.control(&["netdev-dummy/receive", port, &hex]);
        self.control(&["revalidator/purge"]);
    }

    /// Takes a port down, or up again; the switch notices a little later.
    pub(crate) fn set_link(&self, port: &str, up: bool) {
        let state = if up { "up" } else { "down" };
        self.control(&["netdev-dummy/set-admin-state", port, state]);
    }

    fn control(&self, arguments: &[&str]) {
        let target = format!("--target={}", self.dir.join("vs.ctl").display());
        self.run("ovs-appctl", &[&[&target[..]], arguments].concat());
    }

    /// Where controllers connect.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("br0.mgmt")
    }

    /// A connection to the switch, with the session up.
    pub(crate) fn connect(&self) -> Connection {
        Connection::open(&self.socket())
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(&self.dir)
            .stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"] {
            command.env(variable, &self.dir);
        }
        command
    }

    fn run(&self, program: &str, args: &[&str]) {
        let status = self.command(program, args).status();
        let status =
            status.unwrap_or_else(|e| panic!("{program}: {e}: `make setup` installs Open vSwitch"));
        assert!(status.success(), "{program} {args:?}: {status}");
    }

    fn spawn(&mut self, program: &str, args: &[&str]) {
        let child = self.command(program, args).spawn();
        let child =
            child.unwrap_or_else(|e| panic!("{program}: {e}: `make setup` installs Open vSwitch"));
        self.processes.push(child);
    }

    fn wait_for(&self, file: &str) {
        let started = Instant::now();
        while !self.dir.join(file).exists() {
            assert!(started.elapsed() < PATIENCE, "Open vSwitch made no {file}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for OpenVswitch {
    fn drop(&mut self) {
        for child in self.processes.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// The least driver a session can have: one thread, one socket.
pub(crate) struct Connection {
    stream: UnixStream,
    session: SwitchSession,
    origin: Instant,
    outputs: VecDeque<Output>,
}

impl Connection {
    fn open(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let session = SwitchSession::new(SessionConfig::default());
        let mut connection = Self {
            stream,
            session,
            origin: Instant::now(),
            outputs: VecDeque::new(),
        };
        connection.session.handle(Input::Connected, Duration::ZERO);
        connection.wait_for(|output| matches!(output, Output::Up(_)));
        connection
    }

    pub(crate) fn features(&self) -> SwitchFeatures {
        *self.session.features().unwrap()
    }

    pub(crate) fn request(&mut self, message: impl Into<Message>) -> u32 {
        let now = self.origin.elapsed();
        let xid = self.session.request(&message.into(), now).unwrap();
        self.flush();
        xid
    }

    pub(crate) fn request_with(
        &mut self,
        message: impl FnOnce(u32) -> Result<Message, EncodeError>,
    ) -> u32 {
        let now = self.origin.elapsed();
        let xid = self.session.request_with(now, message).unwrap();
        self.flush();
        xid
    }

    /// Everything heard until the barrier sent now is answered.
    pub(crate) fn barrier(&mut self) -> Vec<Output> {
        let barrier = self.request(Message::BarrierRequest);
        self.wait_for(|output| *output == Output::BarrierReply { xid: barrier })
    }

    /// Sends these and requires that none is refused.
    pub(crate) fn install<M: Into<Message>>(&mut self, messages: impl IntoIterator<Item = M>) {
        for message in messages {
            self.request(message);
        }
        let heard = self.barrier();
        let refused = heard
            .iter()
            .find(|output| matches!(output, Output::Error { .. }));
        assert_eq!(refused, None);
    }

    /// The answer to a question.
    pub(crate) fn ask(&mut self, question: MultipartRequestBody) -> MultipartReplyBody {
        let asked = self.request(question);
        let is_it = |o: &Output| matches!(o, Output::MultipartDone { xid, .. } if *xid == asked);
        match self.wait_for(is_it).pop() {
            Some(Output::MultipartDone { body, .. }) => body,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn entries(&mut self) -> Vec<FlowEntry> {
        match self.ask(MultipartRequestBody::Flow(FlowFilter::all())) {
            MultipartReplyBody::Flow(flows) => {
                let mut entries: Vec<_> = flows.iter().map(FlowStats::entry).collect();
                entries.sort();
                entries
            }
            other => panic!("{other:?}"),
        }
    }

    /// Everything heard up to and with the first that `is_it`.
    pub(crate) fn wait_for(&mut self, is_it: impl Fn(&Output) -> bool) -> Vec<Output> {
        let started = Instant::now();
        let mut heard = Vec::new();
        loop {
            self.flush();
            while let Some(output) = self.outputs.pop_front() {
                let found = is_it(&output);
                heard.push(output);
                if found {
                    return heard;
                }
            }
            assert!(
                started.elapsed() < PATIENCE,
                "waited in vain, heard {heard:?}"
            );
            self.receive();
        }
    }

    fn receive(&mut self) {
        let mut buffer = [0; 65_536];
        let read = self.stream.read(&mut buffer);
        let now = self.origin.elapsed();
        match read {
            Ok(0) => self.session.handle(Input::Closed, now),
            Ok(n) => self.session.handle(Input::Received(&buffer[..n]), now),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                self.session.handle(Input::DeadlineReached, now);
            }
            Err(e) => panic!("{e}"),
        }
    }

    /// Sends what is to be sent, keeps the rest.
    fn flush(&mut self) {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Send(bytes) => self.stream.write_all(&bytes).unwrap(),
                Output::Down(reason) => panic!("{reason}"),
                output => self.outputs.push_back(output),
            }
        }
    }
}
