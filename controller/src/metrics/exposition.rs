//! Every number, as Prometheus reads it.

use std::{collections::HashMap, fmt};

use payflow_qos::{PortRef, SwitchId};
use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, MetricEncoder,
        text::encode,
    },
    metrics::{MetricType, exemplar::Exemplar},
    registry::{Registry, Unit},
};

use super::Instruments;
use crate::core::{
    document::Status,
    figures::{Durations, Figures, INSTALL_BOUNDS_MS},
    reply::LinkView,
};

/// The type of [`exposition`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Every state, so that a state nothing is in is told as none.
const STATES: [Status; 10] = [
    Status::Held,
    Status::Pending,
    Status::Scheduled,
    Status::Installing,
    Status::Active,
    Status::Suspended,
    Status::Expired,
    Status::Cancelled,
    Status::Failed,
    Status::Settled,
];

/// All numbers as OpenMetrics text (version 1.0.0).
///
/// # Errors
/// When the text cannot be written, which memory does not do.
pub fn exposition(figures: Figures, instruments: &Instruments) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("payflow");
    registry.register_with_unit(
        "journal_commit_duration",
        "How long it takes until a batch of records is durable",
        Unit::Seconds,
        instruments.commits.clone(),
    );
    registry.register(
        "journal_records",
        "Records that have become durable",
        instruments.records.clone(),
    );
    registry.register_with_unit(
        "http_request_duration",
        "How long the API takes to answer; purchases wait for their payment",
        Unit::Seconds,
        instruments.requests.clone(),
    );
    registry.register_collector(Box::new(Collected(figures)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// The core's numbers.
#[derive(Debug)]
struct Collected(Figures);

impl Collector for Collected {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        self.sales(&mut writer)?;
        self.money(&mut writer)?;
        self.ledger(&mut writer)?;
        self.network(&mut writer)
    }
}

impl Collected {
    fn sales(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let it = &self.0;
        writer.info(
            "build",
            "What runs, and which version of it",
            &[("version", env!("CARGO_PKG_VERSION"))],
        )?;
        writer.gauges(
            "reservations",
            "Reservations by where they are in their lives; held ones are quotes that are not paid",
            None,
            STATES.map(|state| {
                let count = it.reservations.get(&state).copied().unwrap_or(0);
                ([("state", state.word())], count)
            }),
        )?;
        writer.counter(
            "quotes",
            "Quotes ever made, over all restarts",
            None,
            it.quotes,
        )?;
        writer.counters(
            "refusals",
            "Requests that the controller refused, by the name of the problem",
            it.refusals
                .iter()
                .map(|(kind, count)| ([("reason", kind.name())], *count)),
        )?;
        writer.gauge(
            "payments_pending",
            "Offered payments whose outcome the ledger has not told",
            None,
            it.payments_pending,
        )?;
        writer.durations(
            "install_duration",
            "From the order to carry a paid flow to the confirmation of its last switch",
            &it.installs,
        )
    }

    fn money(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let books = &self.0.books;
        for (name, help, amount) in [
            (
                "paid",
                "Everything that arrived at the operator's receive addresses",
                books.paid,
            ),
            (
                "earned",
                "Charges of time served, of settled reservations",
                books.earned,
            ),
            ("fees", "Cancellation and mispayment fees", books.fees),
            (
                "refunded",
                "Sent back, or signed and on its way",
                books.refunded,
            ),
        ] {
            writer.counter(name, help, nanos().as_ref(), amount.0)?;
        }
        for (name, help, amount) in [
            (
                "held",
                "Money of reservations that are not settled, and what is free in accounts",
                books.held,
            ),
            (
                "prepaid",
                "Of what is held: what is free in prepaid accounts",
                books.prepaid,
            ),
            (
                "credited",
                "Payments that bought nothing and are too small to be sent back",
                books.credited,
            ),
        ] {
            writer.gauge(name, help, nanos().as_ref(), amount.0)?;
        }
        writer.gauge(
            "gas",
            "Net gas of transfers that are final; rebates may be larger than what was burned",
            nanos().as_ref(),
            books.gas_nanos,
        )?;
        let open = u64::try_from(books.payouts_open).unwrap_or(u64::MAX);
        writer.gauge(
            "payouts_open",
            "Outgoing transfers that are not final",
            None,
            open,
        )?;
        match self.0.treasury {
            Some(treasury) => writer.gauge(
                "treasury",
                "What the treasury holds to pay for gas",
                nanos().as_ref(),
                treasury.0,
            ),
            None => Ok(()),
        }
    }

    fn ledger(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let it = &self.0;
        let up = u64::from(it.ledger_up);
        writer.gauge(
            "ledger_up",
            "1 while the ledger answers and is the configured chain",
            None,
            up,
        )?;
        let Some((checkpoint, at)) = it.checkpoint else {
            return Ok(());
        };
        writer.gauge(
            "ledger_checkpoint",
            "The last checkpoint that was followed",
            None,
            checkpoint,
        )?;
        // Clocks may differ; a checkpoint from the future is not older than now.
        let age = it.now.0.saturating_sub(at.0);
        writer.gauge(
            "ledger_checkpoint_age",
            "How long ago the last checkpoint that was followed was made, by the ledger's clock",
            Some(&Unit::Seconds),
            Seconds(age),
        )
    }

    fn network(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let topology = &self.0.topology;
        writer.gauge("hosts", "Hosts that the network knows", None, self.0.hosts)?;
        let switches = &topology.switches;
        let by_switch = |number: fn(&crate::core::network::SwitchView) -> u64| {
            switches
                .iter()
                .map(move |it| (OfSwitch(it.switch), number(it)))
        };
        let size = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        writer.gauges(
            "switch_connected",
            "1 while a switch is connected",
            None,
            by_switch(|it| u64::from(it.peer.is_some())),
        )?;
        writer.gauges(
            "switch_ready",
            "1 while a switch is connected, read back, and holds what it should",
            None,
            by_switch(|it| u64::from(it.ready)),
        )?;
        writer.gauges(
            "switch_shortcomings",
            "What a switch lacks; the dashboard and payflow switches say what",
            None,
            switches
                .iter()
                .map(|it| (OfSwitch(it.switch), size(it.shortcomings.len()))),
        )?;
        writer.gauges(
            "switch_flow_entries",
            "Flow entries wanted on a switch",
            None,
            switches
                .iter()
                .map(|it| (OfSwitch(it.switch), size(it.flow_entries))),
        )?;
        writer.gauges(
            "switch_meters",
            "Meters wanted on a switch",
            None,
            switches
                .iter()
                .map(|it| (OfSwitch(it.switch), size(it.meters))),
        )?;
        writer.counters(
            "openflow_errors",
            "OpenFlow errors that a switch has answered with",
            by_switch(|it| it.errors),
        )?;
        let between = topology.links.iter().filter(|link| link.to.is_some());
        writer.gauge(
            "links_up",
            "Directed links between switches that are proven",
            None,
            size(between.count()),
        )?;
        self.links(writer)
    }

    fn links(&self, writer: &mut Writer<'_>) -> fmt::Result {
        type OfLink = fn(&LinkView) -> Option<u64>;
        let rates: [(&str, &str, OfLink); 5] = [
            (
                "link_capacity",
                "What a directed link can carry, by its egress port",
                |it| it.capacity_bps,
            ),
            ("link_reservable", "What of it is for sale", |it| {
                it.reservable_bps
            }),
            ("link_reserved", "What is held or sold now", |it| {
                Some(it.reserved_bps)
            }),
            ("link_free", "What can still be sold now", |it| {
                Some(it.reservable_bps?.saturating_sub(it.reserved_bps))
            }),
            (
                "link_load",
                "What it carries, paid or not, over the last seconds",
                |it| it.load_bps,
            ),
        ];
        for (name, help, of) in rates {
            let links = self.0.topology.links.iter();
            let samples = links.filter_map(|it| Some((OfPort(it.from), of(it)?)));
            writer.gauges(name, help, bits_per_second().as_ref(), samples)?;
        }
        let drained = self.0.topology.links.iter();
        writer.gauges(
            "link_drained",
            "1 while the operator takes a link out of service",
            None,
            drained.map(|it| (OfPort(it.from), u64::from(it.drained))),
        )
    }
}

fn nanos() -> Option<Unit> {
    Some(Unit::Other("nanos".to_owned()))
}

fn bits_per_second() -> Option<Unit> {
    Some(Unit::Other("bits_per_second".to_owned()))
}

/// Milliseconds, told in seconds.
struct Seconds(u64);

impl EncodeGaugeValue for Seconds {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::GaugeValueEncoder<'_>,
    ) -> fmt::Result {
        let seconds = std::time::Duration::from_millis(self.0).as_secs_f64();
        EncodeGaugeValue::encode(&seconds, encoder)
    }
}

#[derive(Debug)]
struct OfSwitch(SwitchId);

impl EncodeLabelSet for OfSwitch {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelSetEncoder<'_>,
    ) -> fmt::Result {
        [("switch", self.0.to_string())].encode(encoder)
    }
}

#[derive(Debug)]
struct OfPort(PortRef);

impl EncodeLabelSet for OfPort {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelSetEncoder<'_>,
    ) -> fmt::Result {
        [
            ("switch", self.0.switch.to_string()),
            ("port", self.0.port.0.to_string()),
        ]
        .encode(encoder)
    }
}

/// Writes metrics one by one.
struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn describe(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        kind: MetricType,
        write: impl FnOnce(MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        write(self.0.encode_descriptor(name, help, unit, kind)?)
    }

    fn info(&mut self, name: &str, help: &str, labels: &[(&str, &str)]) -> fmt::Result {
        self.describe(name, help, None, MetricType::Info, |mut it| {
            it.encode_info(&labels)
        })
    }

    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: impl EncodeGaugeValue,
    ) -> fmt::Result {
        self.describe(name, help, unit, MetricType::Gauge, |mut it| {
            it.encode_gauge(&value)
        })
    }

    fn gauges<S: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        samples: impl IntoIterator<Item = (S, u64)>,
    ) -> fmt::Result {
        self.describe(name, help, unit, MetricType::Gauge, |mut it| {
            for (labels, value) in samples {
                it.encode_family(&labels)?.encode_gauge(&value)?;
            }
            Ok(())
        })
    }

    fn counter(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: impl EncodeCounterValue,
    ) -> fmt::Result {
        self.describe(name, help, unit, MetricType::Counter, |mut it| {
            it.encode_counter(&value, None::<&Exemplar<[(&str, &str); 0], f64>>)
        })
    }

    fn counters<S: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (S, u64)>,
    ) -> fmt::Result {
        self.describe(name, help, None, MetricType::Counter, |mut it| {
            for (labels, value) in samples {
                let mut sample = it.encode_family(&labels)?;
                sample.encode_counter(&value, None::<&Exemplar<[(&str, &str); 0], f64>>)?;
            }
            Ok(())
        })
    }

    fn durations(&mut self, name: &str, help: &str, durations: &Durations) -> fmt::Result {
        let bounds = INSTALL_BOUNDS_MS
            .iter()
            .map(|millis| std::time::Duration::from_millis(*millis).as_secs_f64());
        let mut buckets: Vec<_> = bounds.zip(durations.counts).collect();
        buckets.push((f64::INFINITY, durations.longer));
        self.describe(
            name,
            help,
            Some(&Unit::Seconds),
            MetricType::Histogram,
            |mut it| {
                it.encode_histogram(
                    durations.sum.as_secs_f64(),
                    durations.count(),
                    &buckets,
                    None::<&HashMap<usize, Exemplar<[(&str, &str); 0], f64>>>,
                )
            },
        )
    }
}
