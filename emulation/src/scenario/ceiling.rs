//! How many packets a second a chain of switches forwards without losing one, without reservations and queues: above it,
//! the processor decides what is lost, and nothing measured there says anything about a guarantee.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::mininet::{Lab, LabConfig, Regular, Topology};
use crate::progress::Progress;
use crate::selftest;
use crate::trial::{Tools, Trial, share};

/// One frame of the flow that is sent: 1400 bytes of payload.
const FRAME_BITS: u64 = 1442 * 8;
const LEAST_PPS: u64 = 4_000;
const MOST_PPS: u64 = 128_000;
/// The search ends when the two sides are so near, in per cent.
const NEAR_PERCENT: u64 = 6;
const STEP: Duration = Duration::from_secs(2);
/// The machine is shared: what fails once is tried again.
const TRIES: usize = 2;
/// Least share that the sender must have sent.
const SENT_PERCENT: u64 = 99;
/// Buffers of sockets hide for seconds that more comes than is forwarded; the delay does not.
const DELAY_MS: f64 = 50.0;

/// What was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ceiling {
    /// Switches in a row.
    pub switches: u16,
    /// Frame bytes of every packet.
    pub frame_bytes: u64,
    /// The highest rate that was forwarded without a loss, and without waiting for the processor, packets per second.
    pub loss_free_pps: u64,
    /// The lowest that was not.
    pub lossy_pps: u64,
    /// Every rate that was tried, in order.
    pub steps: Vec<CeilingStep>,
}

/// One try.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CeilingStep {
    /// Packets per second asked for.
    pub pps: u64,
    /// Share lost, 0 to 1.
    pub loss: f64,
    /// Share that the sender did not get to send, 0 to 1.
    pub unsent: f64,
    /// One-way delay that 99 of 100 packets did not exceed.
    pub delay_ms_p99: f64,
}

impl CeilingStep {
    fn holds(&self) -> bool {
        self.loss == 0.0
            && self.unsent * 100.0 <= (100 - SENT_PERCENT) as f64
            && self.delay_ms_p99 <= DELAY_MS
    }
}

/// Searches for it: halving, on a scale of ratios.
///
/// # Errors
/// When the lab or a program in it fails.
pub fn find(tools: &Tools, switches: u16, progress: &Progress) -> anyhow::Result<Ceiling> {
    let lab = Lab::start(LabConfig {
        topology: Topology::Line(Regular {
            switches,
            hosts: 1,
            trunk_bps: 1_000_000_000,
        }),
        controller: None,
        ..LabConfig::default()
    })?;
    let last = format!("h{switches}");
    selftest::forward(&lab, "h1", &last)?;
    lab.repair()?;
    let mut ceiling = Ceiling {
        switches,
        frame_bytes: FRAME_BITS / 8,
        loss_free_pps: 0,
        lossy_pps: MOST_PPS,
        steps: Vec::new(),
    };
    let mut next = LEAST_PPS;
    while ceiling.lossy_pps * 100 > ceiling.loss_free_pps * (100 + NEAR_PERCENT) {
        progress.tell(&format!("the ceiling: {next} packets/s"));
        let mut passed = false;
        for _ in 0..TRIES {
            let step = attempt(&lab, tools, &last, next)?;
            passed = step.holds();
            ceiling.steps.push(step);
            if passed {
                break;
            }
        }
        if passed {
            ceiling.loss_free_pps = next;
        } else {
            ceiling.lossy_pps = next;
            if ceiling.loss_free_pps == 0 {
                break;
            }
        }
        next = (ceiling.loss_free_pps * ceiling.lossy_pps).isqrt();
    }
    Ok(ceiling)
}

fn attempt(lab: &Lab, tools: &Tools, to: &str, pps: u64) -> anyhow::Result<CeilingStep> {
    let result = Trial::new(lab, tools, STEP)
        .udp(
            "probe",
            "h1",
            to,
            5201,
            &format!("rate={}", pps * FRAME_BITS),
        )
        .run()?;
    let flow = result.flow("probe")?;
    let unsent = flow.skipped_packets + flow.failed_packets;
    Ok(CeilingStep {
        pps,
        loss: flow.loss,
        unsent: share(unsent, unsent + flow.sent_packets),
        delay_ms_p99: flow.delay_ms.p99,
    })
}
