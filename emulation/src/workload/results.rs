//! What came of a run: figures, tables for machines, and a digest of it all.

use std::collections::BTreeMap;
use std::time::Duration;

use payflow_controller::core::reply::Books;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::file::Workload;
use super::plan::Amount;
use super::run::flows::{Ending, Flow};
use super::run::load::Sample;
use super::run::{Measured, Outcome, jain};

/// The figures of one run, and its tables.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// The workload.
    pub workload: String,
    /// The seed.
    pub seed: u64,
    /// Of all applications together.
    pub total: Figures,
    /// Of each.
    pub applications: BTreeMap<String, Figures>,
    /// How long each step took, of those that were served.
    pub latency: BTreeMap<&'static str, Latency>,
    /// Jain's index of the parts of what they asked for (Mbit) that hosts got, in millionths.
    pub fairness_ppm: u64,
    /// How often a flow moved to another path.
    pub moves: u64,
    /// Of all links between switches, over the whole time, in millionths of their capacity.
    pub mean_load_ppm: u64,
    /// The link that carried most, on average, and how much of its capacity that was, in millionths.
    pub busiest_link: Option<(String, u64)>,
    /// The operator's books; they balance.
    pub books: Books,
    /// How long it took until everything had come to its end, in virtual seconds.
    pub lasted_s: u64,
    /// How many events there were.
    pub events: u64,
    /// Over time.
    pub samples: Vec<Sample>,
    /// What flows got, where it was looked at.
    pub measured: Vec<Measured>,
    /// SHA-256 over the three tables: two runs with one digest were the same.
    pub digest: String,
    /// One row a request.
    #[serde(skip)]
    pub flows_csv: String,
    /// One row a sample.
    #[serde(skip)]
    pub samples_csv: String,
    /// One row a link.
    #[serde(skip)]
    pub links_csv: String,
}

/// Sums over requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Requests.
    pub requests: u64,
    /// How they ended.
    pub endings: BTreeMap<&'static str, u64>,
    /// What was asked for: rate times duration, or bytes; rounded down to Mbit.
    pub asked_mbit: u64,
    /// What was served of it.
    pub served_mbit: u64,
    /// Requests that were served, in millionths, rounded down.
    pub acceptance_ppm: u64,
    /// What was paid for service, in nanos.
    pub earned_nanos: u64,
    /// Fees, in nanos.
    pub fees_nanos: u64,
    /// What went back, in nanos.
    pub refunded_nanos: u64,
}

/// How long something took, in milliseconds of virtual time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// Half took no longer.
    pub median_ms: u64,
    /// 95 of 100 took no longer.
    pub p95_ms: u64,
    /// 99 of 100 took no longer.
    pub p99_ms: u64,
}

impl Latency {
    fn of(mut all: Vec<u64>) -> Self {
        all.sort_unstable();
        let at = |percent: usize| {
            let place = (all.len() * percent).div_ceil(100).saturating_sub(1);
            all.get(place).copied().unwrap_or_default()
        };
        Self {
            median_ms: at(50),
            p95_ms: at(95),
            p99_ms: at(99),
        }
    }
}

#[derive(Default)]
struct Sum {
    figures: Figures,
    asked_bits: u128,
    served_bits: u128,
}

impl Sum {
    fn add(&mut self, flow: &Flow) {
        let ending = flow.ending.unwrap_or(Ending::Refused);
        self.figures.requests += 1;
        *self.figures.endings.entry(ending.word()).or_default() += 1;
        self.asked_bits += asked_bits(flow);
        self.served_bits += served_bits(flow);
        self.figures.earned_nanos += flow.earned;
        self.figures.fees_nanos += flow.fee;
        self.figures.refunded_nanos += flow.refunded;
    }

    fn figures(mut self) -> Figures {
        let mbit = |bits: u128| u64::try_from(bits / 1_000_000).unwrap_or(u64::MAX);
        let served = self.figures.endings.get(Ending::Served.word());
        let served = served.copied().unwrap_or_default();
        self.figures.acceptance_ppm = (served * 1_000_000)
            .checked_div(self.figures.requests)
            .unwrap_or(0);
        self.figures.asked_mbit = mbit(self.asked_bits);
        self.figures.served_mbit = mbit(self.served_bits);
        self.figures
    }
}

/// What it wanted to be carried.
fn asked_bits(flow: &Flow) -> u128 {
    match flow.request.amount {
        Amount::Seconds(seconds) => u128::from(flow.request.rate.0) * u128::from(seconds),
        Amount::Bytes(bytes, _) => u128::from(bytes) * 8,
    }
}

/// Not more than it wanted: an elastic flow buys whole seconds.
fn served_bits(flow: &Flow) -> u128 {
    let served = u128::from(flow.rate_bps) * u128::from(flow.served_ms) / 1_000;
    served.min(asked_bits(flow))
}

fn ms(at: Duration) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
}

impl Results {
    /// Of a run of a workload under a seed.
    ///
    /// # Errors
    /// A table cannot be written, which needs memory alone.
    pub fn new(
        workload: &Workload,
        hosts: usize,
        seed: u64,
        outcome: Outcome,
    ) -> anyhow::Result<Self> {
        let (mut total, mut applications) = (Sum::default(), BTreeMap::<_, Sum>::new());
        let mut by_host = vec![(0_u128, 0_u128); hosts];
        for flow in &outcome.flows {
            total.add(flow);
            let of = &workload.applications[flow.request.application].name;
            applications.entry(of.clone()).or_default().add(flow);
            if let Some(host) = by_host.get_mut(flow.request.from) {
                host.0 += asked_bits(flow);
                host.1 += served_bits(flow);
            }
        }
        let asked = by_host.iter().filter(|it| it.0 > 0);
        // The same on every machine, and no more than a figure of fairness needs.
        let shares: Vec<f64> = asked.map(|it| it.1 as f64 / it.0 as f64).collect();
        let links = &outcome.links.all;
        let ppm = |part: u128, all: u128| {
            let ppm = (part * 1_000_000).checked_div(all).unwrap_or(0);
            u64::try_from(ppm).unwrap_or(u64::MAX)
        };
        let sum = |of: &dyn Fn(usize) -> u64| (0..links.len()).map(|it| u128::from(of(it))).sum();
        let busiest = links.iter().map(|link| {
            let load = ppm(link.mean().into(), link.capacity.0.into());
            (load, link.ends.join(" > "))
        });
        let busiest = busiest.max_by(|a, b| a.0.cmp(&b.0).then_with(|| b.1.cmp(&a.1)));
        let [flows_csv, samples_csv, links_csv] = [
            flows_table(workload, &outcome.flows)?,
            table(&outcome.samples)?,
            links_table(&outcome)?,
        ];
        let mut hash = Sha256::new();
        for table in [&flows_csv, &samples_csv, &links_csv] {
            hash.update(table);
        }
        Ok(Self {
            workload: workload.name.clone(),
            seed,
            total: total.figures(),
            applications: applications
                .into_iter()
                .map(|(name, sum)| (name, sum.figures()))
                .collect(),
            latency: latency(&outcome.flows),
            fairness_ppm: (jain(&shares) * 1e6).round() as u64,
            moves: outcome.flows.iter().map(|flow| u64::from(flow.moves)).sum(),
            mean_load_ppm: ppm(sum(&|it| links[it].mean()), sum(&|it| links[it].capacity.0)),
            busiest_link: busiest.map(|(load, name)| (name, load)),
            books: outcome.books,
            lasted_s: outcome.lasted.as_secs(),
            events: outcome.steps,
            samples: outcome.samples,
            measured: outcome.measured,
            digest: format!("{:x}", hash.finalize()),
            flows_csv,
            samples_csv,
            links_csv,
        })
    }
}

/// Of the flows that were served: from asking to the quote, from paying to finality, from there to the last switch's
/// confirmation, and all together from asking first.
fn latency(flows: &[Flow]) -> BTreeMap<&'static str, Latency> {
    type Step = fn(&Flow) -> Option<Duration>;
    let steps: [(&str, Step); 4] = [
        ("quote", |it| it.quoted?.checked_sub(it.tried)),
        ("payment", |it| it.settled_payment?.checked_sub(it.paid?)),
        ("installation", |it| {
            it.active?.checked_sub(it.settled_payment?)
        }),
        ("whole", |it| it.active?.checked_sub(it.asked)),
    ];
    let served = || flows.iter().filter(|flow| flow.active.is_some());
    let of = |step: Step| Latency::of(served().filter_map(step).map(ms).collect());
    steps
        .into_iter()
        .map(|(name, step)| (name, of(step)))
        .collect()
}

/// What the CSV has of each request.
#[derive(Serialize)]
struct FlowRow<'a> {
    request: usize,
    application: &'a str,
    from_host: usize,
    to_host: usize,
    asked_ms: u64,
    asked_bps: u64,
    rate_bps: u64,
    duration_s: u64,
    tries: u32,
    ending: &'static str,
    price_nanos: u64,
    earned_nanos: u64,
    fee_nanos: u64,
    refunded_nanos: u64,
    quoted_ms: Option<u64>,
    paid_ms: Option<u64>,
    final_ms: Option<u64>,
    active_ms: Option<u64>,
    ended_ms: Option<u64>,
    served_ms: u64,
    hops: u32,
    moves: u32,
}

fn flows_table(workload: &Workload, flows: &[Flow]) -> anyhow::Result<String> {
    let rows = (1..).zip(flows).map(|(request, flow)| FlowRow {
        request,
        application: &workload.applications[flow.request.application].name,
        from_host: flow.request.from + 1,
        to_host: flow.request.to + 1,
        asked_ms: ms(flow.asked),
        asked_bps: flow.request.rate.0,
        rate_bps: flow.rate_bps,
        duration_s: flow.seconds,
        tries: flow.tries,
        ending: flow.ending.unwrap_or(Ending::Refused).word(),
        price_nanos: flow.price,
        earned_nanos: flow.earned,
        fee_nanos: flow.fee,
        refunded_nanos: flow.refunded,
        quoted_ms: flow.quoted.map(ms),
        paid_ms: flow.paid.map(ms),
        final_ms: flow.settled_payment.map(ms),
        active_ms: flow.active.map(ms),
        ended_ms: flow.ended.map(ms),
        served_ms: flow.served_ms,
        hops: flow.hops,
        moves: flow.moves,
    });
    table(rows)
}

fn links_table(outcome: &Outcome) -> anyhow::Result<String> {
    #[derive(Serialize)]
    struct Row<'a> {
        from: &'a str,
        to: &'a str,
        capacity_bps: u64,
        mean_booked_bps: u64,
        most_booked_bps: u64,
    }
    table(outcome.links.all.iter().map(|link| Row {
        from: &link.ends[0],
        to: &link.ends[1],
        capacity_bps: link.capacity.0,
        mean_booked_bps: link.mean(),
        most_booked_bps: link.peak,
    }))
}

fn table<T: Serialize>(rows: impl IntoIterator<Item = T>) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row)?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let latency = Latency::of((1..=200).rev().collect());
        assert_eq!(
            (latency.median_ms, latency.p95_ms, latency.p99_ms),
            (100, 190, 198)
        );
        assert_eq!(Latency::of(vec![7]).p99_ms, 7);
        assert_eq!(Latency::of(Vec::new()), Latency::default());
    }
}
