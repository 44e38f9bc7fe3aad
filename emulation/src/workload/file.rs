//! What a workload says, as it stands in its file.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use payflow_qos::{BitRate, Tariff, price::Congestion, price::Pricing};
use toml::Table;

use super::fields::{Fields, Problems};
use super::sizes::Sizes;
use super::trace::{self, TraceRow};

/// A week; nothing here lasts longer.
const MOST_S: u64 = 7 * 86_400;
/// Requests of one application.
const MOST_REQUESTS: u64 = 10_000_000;
/// Of one flow: a terabyte.
const MOST_BYTES: u64 = 1_000_000_000_000;
/// A billion IOTA.
const MOST_NANOS: u64 = 1_000_000_000_000_000_000;

/// A workload, read and checked.
#[derive(Clone, Debug)]
pub struct Workload {
    /// What it is called.
    pub name: String,
    /// For how long requests arrive.
    pub lasts: Duration,
    /// Hosts at every switch, where the topology has no hosts.
    pub hosts_per_switch: u16,
    /// What the cable of a host carries.
    pub host_capacity: BitRate,
    /// Between two samples of load, price and revenue.
    pub sample: Duration,
    /// Between two looks at what every flow gets, as a fluid in the switches' tables; never if absent.
    pub measure: Option<Duration>,
    /// How the controller is set.
    pub controller: Controller,
    /// How it prices.
    pub pricing: Pricing,
    /// Who asks.
    pub applications: Vec<Application>,
    /// What fails.
    pub failures: Vec<Failure>,
}

/// Settings of the controller that decide how much work a long simulation is, and how long buyers may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Controller {
    /// Between two discovery frames of a link. Ports that go down are noticed at once, whatever this is.
    pub discovery: Duration,
    /// Between two readings of a switch's counters and entries.
    pub audit: Duration,
    /// So long are switch and controller silent before either asks the other for a sign of life.
    pub echo: Duration,
    /// For how long a quote holds its capacity.
    pub hold: Duration,
}

/// Those who ask for one kind of flow.
#[derive(Clone, Debug)]
pub struct Application {
    /// What they are called.
    pub name: String,
    /// When they ask.
    pub arrivals: Arrivals,
    /// What they want.
    pub want: Want,
    /// Rates that are equally likely.
    pub rates: Vec<BitRate>,
    /// Who waits longer than this from when it first asked until it is served gives up.
    pub patience: Duration,
    /// Between two attempts.
    pub retry: Duration,
    /// What one Mbit/s for one second is worth, in nanos: anything in this range is equally likely. Nobody pays more.
    pub value: Option<(u64, u64)>,
    /// What all requests of this application from one host may cost together, in nanos.
    pub budget: Option<u64>,
    /// Names of nodes at which they are; all hosts if empty.
    pub from: Vec<String>,
    /// Names of nodes to which they send; all hosts if empty.
    pub to: Vec<String>,
}

/// When requests come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// A Poisson process, given how many there are.
    Poisson {
        /// How many.
        requests: u64,
        /// How much is asked for in each of equal parts of the time, in proportion; the same always if empty.
        shape: Vec<u64>,
    },
    /// As a trace says.
    Trace(Vec<TraceRow>),
}

/// What an application wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// A rate for a time, or nothing: sold as a steady flow.
    Inelastic(Lasts),
    /// So many bytes carried, sooner or later: sold as an elastic flow. Where there is no room it asks for half the rate.
    Elastic {
        /// How many bytes.
        sizes: Sizes,
        /// It asks for no less.
        least: BitRate,
    },
}

/// How long, in whole seconds from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// Always so long.
    Fixed(u64),
    /// Anything from the first to the second.
    Uniform(u64, u64),
    /// An exponential distribution with this mean, cut off at the second.
    Exponential(u64, u64),
}

/// Something that fails at a stated time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When, from the beginning.
    pub at: Duration,
    /// For how long.
    pub lasts: Duration,
    /// What.
    pub what: Fails,
}

/// What fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fails {
    /// Every cable between two nodes; their ports go down.
    Link([String; 2]),
    /// Every cable of a switch.
    Switch(String),
    /// The ledger's node is out of reach.
    Ledger,
    /// The controller is killed, and restarts from its journal.
    Controller,
}

/// Everything that is wrong with a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadError {
    /// The file.
    pub source: String,
    /// One line for each thing.
    pub problems: Vec<String>,
}

impl fmt::Display for WorkloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is no workload:", self.source)?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for WorkloadError {}

impl Workload {
    /// Reads a file; traces and distributions that it names are beside it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, WorkloadError> {
        let source = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| WorkloadError {
            source: source.clone(),
            problems: vec![format!("cannot be read: {error}")],
        })?;
        let dir = path.parent().unwrap_or_else(|| Path::new("."));
        Self::read(&source, &text, &|name| {
            std::fs::read_to_string(dir.join(name)).map_err(|error| format!("{name}: {error}"))
        })
    }

    /// Reads a text; `open` gives the text of a file that it names.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(
        source: &str,
        text: &str,
        open: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<Self, WorkloadError> {
        let error = |problems| WorkloadError {
            source: source.to_owned(),
            problems,
        };
        let table: Table =
            toml::from_str(text).map_err(|it| error(vec![it.to_string().trim_end().to_owned()]))?;
        let problems = Problems::default();
        let read = workload(Fields::new(String::new(), table, &problems), open);
        let found = problems.take();
        match read {
            Some(workload) if found.is_empty() => Ok(workload),
            _ => Err(error(found)),
        }
    }

    /// Whether the controller is ever killed, and so needs its journal.
    #[must_use]
    pub fn kills_controller(&self) -> bool {
        let mut failures = self.failures.iter();
        failures.any(|it| it.what == Fails::Controller)
    }
}

type Open<'a> = &'a dyn Fn(&str) -> Result<String, String>;

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn workload(mut file: Fields, open: Open<'_>) -> Option<Workload> {
    let name: Option<String> = file.need("name");
    let lasts = file.need_number("lasts_s", 1, MOST_S);
    let hosts = file.number("hosts_per_switch", 1, 100).unwrap_or(1);
    let capacity = file.rate("host_capacity");
    let sample = file.number("sample_s", 1, MOST_S);
    let measure = file.number("measure_s", 1, MOST_S);
    let controller = controller(file.table("controller"));
    let pricing = match file.table("prices") {
        Some(prices) => pricing(prices),
        None => Some(Pricing::Fixed(TARIFF)),
    };
    let applications: Vec<_> = file.tables("applications");
    if applications.is_empty() {
        file.wrong("applications", "nobody asks for anything");
    }
    let applications: Vec<Option<Application>> = applications
        .into_iter()
        .map(|it| application(it, open))
        .collect();
    let failures: Vec<Option<Failure>> = file.tables("failures").into_iter().map(failure).collect();
    file.finish();
    let lasts = lasts?;
    Some(Workload {
        name: name?,
        lasts: seconds(lasts),
        hosts_per_switch: u16::try_from(hosts).ok()?,
        host_capacity: capacity.unwrap_or(BitRate(1_000_000_000)),
        sample: seconds(sample.unwrap_or(lasts.div_ceil(288))),
        measure: measure.map(seconds),
        controller,
        pricing: pricing?,
        applications: applications.into_iter().collect::<Option<_>>()?,
        failures: failures.into_iter().collect::<Option<_>>()?,
    })
}

fn controller(fields: Option<Fields>) -> Controller {
    let mut controller = Controller {
        discovery: seconds(60),
        audit: seconds(60),
        echo: seconds(60),
        hold: seconds(15),
    };
    if let Some(mut fields) = fields {
        let mut set = |key, at: &mut Duration, most| {
            if let Some(number) = fields.number(key, 1, most) {
                *at = seconds(number);
            }
        };
        set("discovery_s", &mut controller.discovery, 3_600);
        set("audit_s", &mut controller.audit, 3_600);
        set("echo_s", &mut controller.echo, 3_600);
        set("hold_s", &mut controller.hold, 3_600);
        fields.finish();
    }
    controller
}

/// As in the operator's example.
const TARIFF: Tariff = Tariff {
    steady_nanos_per_mbit_second: 1_000_000,
    elastic_nanos_per_mbit_second: 800_000,
    minimum_nanos: 10_000_000,
};

fn pricing(mut fields: Fields) -> Option<Pricing> {
    let mut price = |key, usual| {
        if fields.has(key) {
            fields.number(key, 0, MOST_NANOS)
        } else {
            Some(usual)
        }
    };
    let steady = price(
        "steady_nanos_per_mbit_second",
        TARIFF.steady_nanos_per_mbit_second,
    );
    let elastic = price(
        "elastic_nanos_per_mbit_second",
        TARIFF.elastic_nanos_per_mbit_second,
    );
    let minimum = price("minimum_nanos", TARIFF.minimum_nanos);
    let ratio = fields.number("congestion_ratio", 1, 1_000_000);
    let tariff = (|| {
        Some(Tariff {
            steady_nanos_per_mbit_second: steady?,
            elastic_nanos_per_mbit_second: elastic?,
            minimum_nanos: minimum?,
        })
    })();
    let pricing = match (tariff, ratio.and_then(|it| u32::try_from(it).ok())) {
        (Some(tariff), Some(ratio)) => match Congestion::new(tariff, ratio) {
            Ok(congestion) => Some(Pricing::Congestion(congestion)),
            Err(error) => {
                fields.wrong("congestion_ratio", error);
                None
            }
        },
        (Some(tariff), None) => Some(Pricing::Fixed(tariff)),
        (None, _) => None,
    };
    fields.finish();
    pricing
}

fn application(mut fields: Fields, open: Open<'_>) -> Option<Application> {
    let name: Option<String> = fields.need("name");
    let arrivals = arrivals(&mut fields, open);
    let kind: Option<String> = fields.need("kind");
    let lasts = fields.table("duration").and_then(duration);
    let sizes = fields.table("size").and_then(|it| size(it, open));
    let least = fields.rate("least_rate");
    let texts: Vec<String> = fields.get("rates").unwrap_or_default();
    let rates: Vec<Option<BitRate>> = texts
        .iter()
        .map(|text| fields.parse_rate("rates", text))
        .collect();
    let is_trace = matches!(arrivals, Some(Arrivals::Trace(_)));
    if texts.is_empty() && !is_trace {
        fields.wrong("rates", "at least one is needed, such as [\"2Mbit\"]");
    }
    let want = match kind.as_deref() {
        Some("inelastic") => {
            if fields.has("size") || sizes.is_some() || least.is_some() {
                fields.wrong(
                    "kind",
                    "an inelastic application has a duration, no size and no least_rate",
                );
            }
            if lasts.is_none() && !is_trace {
                fields.wrong(
                    "duration",
                    "an inelastic application needs one, such as { exponential_s = 300 }",
                );
            }
            Some(Want::Inelastic(lasts.unwrap_or(Lasts::Fixed(1))))
        }
        Some("elastic") => {
            if lasts.is_some() {
                fields.wrong("kind", "an elastic application has a size and no duration: it lasts as long as its rate makes it");
            }
            if sizes.is_none() && !is_trace {
                fields.wrong(
                    "size",
                    "an elastic application needs one, such as { published = \"web-search\" }",
                );
            }
            Some(Want::Elastic {
                sizes: sizes.unwrap_or(Sizes::Fixed(1)),
                least: least.unwrap_or(BitRate(100_000)),
            })
        }
        Some(other) => {
            fields.wrong(
                "kind",
                format!("{other:?} is neither \"inelastic\" nor \"elastic\""),
            );
            None
        }
        None => None,
    };
    let patience = fields.number("patience_s", 1, MOST_S).unwrap_or(30);
    let retry = fields.number("retry_s", 1, MOST_S).unwrap_or(5);
    let value: Option<(u64, u64)> = match fields.get::<[i64; 2]>("value_nanos_per_mbit_second") {
        None => None,
        Some([low, high]) => match (u64::try_from(low), u64::try_from(high)) {
            (Ok(low), Ok(high)) if low <= high && high <= MOST_NANOS => Some((low, high)),
            _ => {
                fields.wrong("value_nanos_per_mbit_second", "is not [least, most]");
                None
            }
        },
    };
    let budget = fields.number("budget_nanos", 0, MOST_NANOS);
    let from = fields.get("from").unwrap_or_default();
    let to = fields.get("to").unwrap_or_default();
    fields.finish();
    Some(Application {
        name: name?,
        arrivals: arrivals?,
        want: want?,
        rates: rates.into_iter().collect::<Option<_>>()?,
        patience: seconds(patience),
        retry: seconds(retry),
        value,
        budget,
        from,
        to,
    })
}

fn arrivals(fields: &mut Fields, open: Open<'_>) -> Option<Arrivals> {
    let Some(mut arrivals) = fields.table("arrivals") else {
        fields.wrong(
            "arrivals",
            "is missing: { requests = 1000 } or { trace = \"requests.csv\" }",
        );
        return None;
    };
    let requests = arrivals.number("requests", 1, MOST_REQUESTS);
    let shape: Vec<u64> = arrivals.get("shape").unwrap_or_default();
    let trace: Option<String> = arrivals.get("trace");
    if !shape.is_empty()
        && (shape.iter().any(|it| *it > 1_000_000) || shape.iter().sum::<u64>() == 0)
    {
        arrivals.wrong(
            "shape",
            "is not weights of at most a million each, one of them above zero",
        );
    }
    let read = match (requests, trace) {
        (Some(requests), None) => Some(Arrivals::Poisson { requests, shape }),
        (None, Some(name)) if shape.is_empty() => {
            match open(&name)
                .map_err(|it| vec![it])
                .and_then(|text| trace::read(&text))
            {
                Ok(rows) => Some(Arrivals::Trace(rows)),
                Err(problems) => {
                    for problem in problems {
                        arrivals.wrong("trace", problem);
                    }
                    None
                }
            }
        }
        _ => {
            arrivals.wrong("requests", "either requests (and shape), or trace");
            None
        }
    };
    arrivals.finish();
    read
}

fn duration(mut fields: Fields) -> Option<Lasts> {
    let read = match fields.only_key() {
        Some("fixed_s") => fields.number("fixed_s", 1, MOST_S).map(Lasts::Fixed),
        Some("uniform_s") => match fields.get::<[u64; 2]>("uniform_s") {
            Some([low, high]) if low >= 1 && low <= high && high <= MOST_S => {
                Some(Lasts::Uniform(low, high))
            }
            Some(_) => {
                fields.wrong("uniform_s", "is not [shortest, longest] in seconds");
                None
            }
            None => None,
        },
        _ if fields.has("exponential_s") => {
            let mean = fields.number("exponential_s", 1, MOST_S);
            let most = fields.number("most_s", 1, MOST_S).unwrap_or(MOST_S);
            mean.map(|mean| Lasts::Exponential(mean, most))
        }
        _ => {
            fields.wrong(
                "fixed_s",
                "one of fixed_s, uniform_s = [shortest, longest], exponential_s (with most_s)",
            );
            None
        }
    };
    fields.finish();
    read
}

fn size(mut fields: Fields, open: Open<'_>) -> Option<Sizes> {
    let read = match fields.only_key() {
        Some("fixed_bytes") => fields
            .number("fixed_bytes", 1, MOST_BYTES)
            .map(Sizes::Fixed),
        Some("published") => {
            let name: String = fields.get("published")?;
            let sizes = Sizes::published(&name);
            if sizes.is_none() {
                fields.wrong(
                    "published",
                    format!("{name:?} is neither \"web-search\" nor \"data-mining\""),
                );
            }
            sizes
        }
        Some("file") => {
            let name: String = fields.get("file")?;
            match open(&name)
                .map_err(|it| vec![it])
                .and_then(|text| Sizes::read(&text))
            {
                Ok(sizes) => Some(sizes),
                Err(problems) => {
                    for problem in problems {
                        fields.wrong("file", problem);
                    }
                    None
                }
            }
        }
        _ => {
            fields.wrong("published", "one of published, fixed_bytes, file");
            None
        }
    };
    fields.finish();
    read
}

fn failure(mut fields: Fields) -> Option<Failure> {
    let at = fields.need_number("at_s", 0, MOST_S);
    let lasts = fields.need_number("lasts_s", 1, MOST_S);
    let link: Option<[String; 2]> = fields.get("link");
    let switch: Option<String> = fields.get("switch");
    let other: Option<String> = fields.get("what");
    let what = match (link, switch, other.as_deref()) {
        (Some(ends), None, None) => Some(Fails::Link(ends)),
        (None, Some(name), None) => Some(Fails::Switch(name)),
        (None, None, Some("ledger")) => Some(Fails::Ledger),
        (None, None, Some("controller")) => Some(Fails::Controller),
        _ => {
            fields.wrong("what", "one of link = [\"a\", \"b\"], switch = \"a\", what = \"ledger\", what = \"controller\"");
            None
        }
    };
    fields.finish();
    Some(Failure {
        at: seconds(at?),
        lasts: seconds(lasts?),
        what: what?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Workload, WorkloadError> {
        Workload::read("test.toml", text, &|name| {
            Err(format!("{name}: no such file"))
        })
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_with_its_place() {
        let error = read(
            r#"
            nmae = "misspelt"
            lasts_s = 0
            [controller]
            audit_s = "often"
            [[applications]]
            name = "video"
            kind = "rubber"
            arrivals = { requests = 10, trace = "t.csv" }
            rates = ["2Mbit", "fast"]
            [[applications]]
            name = "files"
            kind = "elastic"
            arrivals = { requests = 10 }
            rates = ["2Mbit"]
            size = { published = "websearch" }
            [[failures]]
            at_s = 3
            lasts_s = 3
            "#,
        )
        .expect_err("wrong");
        let all = error.to_string();
        for part in [
            "nmae: is not known here",
            "name: is missing",
            "lasts_s: 0 is not from 1",
            "controller.audit_s:",
            "applications 1.kind: \"rubber\"",
            "applications 1.arrivals.requests: either",
            "applications 1.rates:",
            "applications 2.size.published: \"websearch\"",
            "failures 1.what: one of",
        ] {
            assert!(all.contains(part), "{part} is missing in:\n{all}");
        }
    }

    #[test]
    fn what_an_application_is_decides_what_it_says() {
        let mixed = read(
            "name = \"x\"\nlasts_s = 60\n[[applications]]\nname = \"a\"\nkind = \"elastic\"\narrivals = { requests = 1 }\n\
             rates = [\"1Mbit\"]\nduration = { fixed_s = 3 }\n",
        );
        let all = mixed.expect_err("wrong").to_string();
        assert!(all.contains("has a size and no duration"), "{all}");
    }

    #[test]
    fn the_examples_are_workloads() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/workloads");
        let mut count = 0;
        for file in std::fs::read_dir(&dir).expect("examples") {
            let path = file.expect("a file").path();
            if path.extension().is_some_and(|it| it == "toml") {
                let workload = Workload::load(&path).unwrap_or_else(|error| panic!("{error}"));
                assert!(!workload.applications.is_empty());
                count += 1;
            }
        }
        assert!(count >= 4, "{count}");
    }
}
