//! `payflow-lab selftest`: shows that this machine can carry a guarantee at all, without any controller.
//!
//! On the paper's network, with flows, meter and queues written by hand, a 10 Mbit/s flow meets a flood of 100 Mbit/s at a
//! bottleneck of 20 Mbit/s, first unprotected, then in a class of its own. When this fails, figures of a controller on the
//! same machine mean nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::mininet::{Lab, LabConfig, LabError};
use crate::trial::{FlowResult, Tools, Trial, TrialError};

const RESERVED_BPS: u64 = 10_000_000;
/// DSCP and queue of the steady class.
const STEADY_DSCP: u8 = 46;
const STEADY_QUEUE: u32 = 2;
const RESERVED_PORT: u16 = 5201;
const FLOOD_PORT: u16 = 6201;
const DURATION: Duration = Duration::from_secs(6);

/// What the self-test saw.
#[derive(Clone, Debug)]
pub struct SelfTest {
    /// Description of the switches.
    pub switch: String,
    /// Reserved flow and flood without a reservation.
    pub before: (FlowResult, FlowResult),
    /// The same with one.
    pub after: (FlowResult, FlowResult),
    /// Packets that switches dropped, by place.
    pub drops: BTreeMap<String, u64>,
}

impl SelfTest {
    /// Whether the flow suffered before and not after: at least 99 % of its rate, at most 0.1 % loss, and the flood at
    /// least 90 % of the rest.
    #[must_use]
    pub fn passed(&self) -> bool {
        let (flow, flood) = &self.after;
        self.before.0.loss > 0.5
            && flow.loss <= 0.001
            && flow.goodput_bps >= RESERVED_BPS * 99 / 100
            && flood.goodput_bps >= RESERVED_BPS * 90 / 100
    }
}

/// Runs it.
///
/// # Errors
/// When the lab or a program in it fails.
pub fn run() -> Result<SelfTest, TrialError> {
    let tools = Tools::find()?;
    let lab = Lab::start(LabConfig {
        controller: None,
        ..LabConfig::default()
    })?;
    forward(&lab, "h1", "h4")?;
    classes(&lab, "s2-eth102", 20_000_000)?;
    lab.repair()?;
    let before = trial(&lab, &tools)?;
    reserve(&lab)?;
    let after = trial(&lab, &tools)?;
    let drops = lab.drops()?;
    let info = lab.info();
    let switch = format!(
        "Open vSwitch {}, {} datapath",
        info.switch_version, info.datapath
    );
    Ok(SelfTest {
        switch,
        before,
        after,
        drops,
    })
}

/// Reserved flow and flood leave through the same port of the same host, the worst case for a switch that sends in
/// batches.
fn trial(lab: &Lab, tools: &Tools) -> Result<(FlowResult, FlowResult), TrialError> {
    let result = Trial::new(lab, tools, DURATION)
        .udp(
            "reserved",
            "h1",
            "h4",
            RESERVED_PORT,
            &format!("rate={RESERVED_BPS}"),
        )
        .udp("flood", "h1", "h4", FLOOD_PORT, "rate=100Mbit")
        .run()?;
    Ok((
        result.flow("reserved")?.clone(),
        result.flow("flood")?.clone(),
    ))
}

/// Plain switching on every switch of a network without loops, until one host reaches another.
pub(crate) fn forward(lab: &Lab, from: &str, to: &str) -> Result<(), LabError> {
    for switch in &lab.info().switches {
        flow(lab, &switch.name, "priority=1,actions=NORMAL")?;
    }
    let limit = Duration::from_secs(5);
    let address = lab.info().host(to).map(|host| host.ip.to_string());
    if lab.reaches(from, &address.unwrap_or_default(), limit)? {
        return Ok(());
    }
    let what = format!("an answer from {to} to {from}");
    Err(LabError::TimeOut { what, limit })
}

/// The four classes of a port: best effort, control, steady, elastic.
fn classes(lab: &Lab, port: &str, rate_bps: u64) -> Result<(), LabError> {
    let rate = rate_bps.to_string();
    let mut argv = vec!["ovs-vsctl".to_owned()];
    argv.extend(format!("-- set port {port} qos=@qos -- --id=@qos create qos type=linux-htb other-config:max-rate={rate} queues:0=@q0 queues:1=@q1 queues:2=@q2 queues:3=@q3").split(' ').map(str::to_owned));
    for (queue, (priority, min)) in [
        (3, rate_bps / 20),
        (0, rate_bps / 20),
        (1, rate_bps / 2),
        (2, rate_bps / 10),
    ]
    .into_iter()
    .enumerate()
    {
        argv.extend(format!("-- --id=@q{queue} create queue other-config:priority={priority} other-config:min-rate={min} other-config:max-rate={rate}").split(' ').map(str::to_owned));
    }
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    lab.exec("root", &argv).map(|_| ())
}

/// What a controller does for one reservation: meter, mark and class at the first switch, class at the second, the mark
/// taken off at the last.
fn reserve(lab: &Lab) -> Result<(), LabError> {
    let meter = format!(
        "meter=1,kbps,burst,stats,band=type=drop,rate={},burst_size=500",
        RESERVED_BPS / 1000
    );
    lab.exec(
        "root",
        &["ovs-ofctl", "-O", "OpenFlow13", "add-meter", "s1", &meter],
    )?;
    let selector = format!("udp,nw_src=10.0.0.1,nw_dst=10.0.0.4,tp_dst={RESERVED_PORT}");
    flow(
        lab,
        "s3",
        &format!(
            "priority=100,in_port=101,{selector},ip_dscp={STEADY_DSCP},actions=set_field:0->ip_dscp,output:1"
        ),
    )?;
    flow(
        lab,
        "s2",
        &format!(
            "priority=100,in_port=101,{selector},ip_dscp={STEADY_DSCP},actions=set_queue:{STEADY_QUEUE},output:102"
        ),
    )?;
    flow(
        lab,
        "s1",
        &format!(
            "priority=100,in_port=1,dl_src=02:00:00:00:00:01,{selector},actions=meter:1,set_field:{STEADY_DSCP}->ip_dscp,set_queue:{STEADY_QUEUE},output:101"
        ),
    )
}

fn flow(lab: &Lab, switch: &str, flow: &str) -> Result<(), LabError> {
    lab.exec(
        "root",
        &["ovs-ofctl", "-O", "OpenFlow13", "add-flow", switch, flow],
    )
    .map(|_| ())
}
