//! `payflow-lab topology`.

use super::{Format, Origin, Reading, Statistics, load, plot};
use crate::table::Table;
use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use serde_json::json;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum TopologyCommand {
    /// Tells what a topology is: nodes, links, components, capacities, and what was assumed
    Show(Show),
    /// Writes a topology in another format
    Convert(Convert),
    /// Draws a topology
    Plot(Plot),
}

const SOURCE: &str = "A file (.graphml, .xml of SNDlib, .json, .toml), a Mininet script (script.py or script.py:NAME,ARGUMENT; it \
                      is run, as your own code), mn:NAME as `mn --topo` has it (mn:tree,2), or gen:NAME (gen:waxman,n=50,seed=3)";

/// `payflow-lab topology show`.
#[derive(Debug, Args)]
pub struct Show {
    #[arg(help = SOURCE, required_unless_present = "all")]
    source: Option<String>,
    /// One row for every file in a directory and below it; scripts are left out, because reading them is running them
    #[arg(long, value_name = "DIR", conflicts_with = "source")]
    all: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reading: Reading,
}

/// `payflow-lab topology convert`.
#[derive(Debug, Args)]
pub struct Convert {
    #[arg(help = SOURCE)]
    source: String,
    /// Where to write; - is standard output
    out: PathBuf,
    /// In which format [default: what the end of the name says]
    #[arg(long, value_enum)]
    to: Option<Format>,
    #[command(flatten)]
    reading: Reading,
}

/// `payflow-lab topology plot`.
#[derive(Debug, Args)]
pub struct Plot {
    #[arg(help = SOURCE)]
    source: String,
    /// Where to write the picture (SVG)
    out: PathBuf,
    #[command(flatten)]
    reading: Reading,
}

/// Runs the command.
///
/// # Errors
/// A topology cannot be read, or a file not be written.
pub fn run(command: &TopologyCommand) -> anyhow::Result<()> {
    match command {
        TopologyCommand::Show(show) => run_show(show),
        TopologyCommand::Convert(convert) => run_convert(convert),
        TopologyCommand::Plot(plot) => run_plot(plot),
    }
}

fn run_show(show: &Show) -> anyhow::Result<()> {
    if let Some(dir) = &show.all {
        return show_all(dir, show);
    }
    let source = show
        .source
        .as_deref()
        .context("name a topology, or --all DIR")?;
    let statistics = Statistics::of(&load(source, &show.reading)?);
    print(&if show.json {
        format!("{:#}\n", serde_json::to_value(&statistics)?)
    } else {
        statistics.to_string()
    })
}

fn print(text: &str) -> anyhow::Result<()> {
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    match written {
        // Whoever reads has seen enough, as `head` has.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

fn show_all(dir: &Path, show: &Show) -> anyhow::Result<()> {
    let (mut files, mut scripts) = (Vec::new(), 0);
    find(dir, 0, &mut files, &mut scripts).with_context(|| dir.display().to_string())?;
    files.sort();
    ensure!(
        !files.is_empty(),
        "{}: no topologies (.graphml, .xml, .json, .toml)",
        dir.display()
    );
    let results = crate::experiment::spread(&files, |path| {
        load(&path.to_string_lossy(), &show.reading).map(|it| Statistics::of(&it))
    });
    let failed = results.iter().filter(|result| result.is_err()).count();
    if show.json {
        let rows = files
            .iter()
            .zip(&results)
            .map(|(path, result)| match result {
                Ok(statistics) => json!({ "file": path, "statistics": statistics }),
                Err(error) => json!({ "file": path, "error": error.to_string() }),
            });
        print(&format!(
            "{:#}\n",
            serde_json::Value::from(rows.collect::<Vec<_>>())
        ))?;
    } else {
        print(&table(dir, &files, &results))?;
        if scripts > 0 {
            eprintln!(
                "{scripts} Python scripts were left out: reading them is running them, so name them one by one"
            );
        }
    }
    ensure!(
        failed == 0,
        "{failed} of {} files are no topologies",
        files.len()
    );
    Ok(())
}

fn table(
    dir: &Path,
    files: &[PathBuf],
    results: &[Result<Statistics, super::TopologyError>],
) -> String {
    let mut table = Table::new([
        "file",
        "nodes",
        "links",
        "parallel",
        "components",
        "places",
        "stated",
        "derived",
        "default",
        "notes",
    ]);
    let (mut sums, mut errors) = ([0_usize; 7], String::new());
    for (path, result) in files.iter().zip(results) {
        let Ok(statistics) = result else {
            errors.extend(result.as_ref().err().map(|error| format!("{error}\n")));
            continue;
        };
        let numbers = [
            statistics.switches + statistics.hosts,
            statistics.links,
            statistics.parallel,
            statistics.placed,
            statistics.capacities_from(&[Origin::Stated]),
            statistics.capacities_from(&[Origin::Label, Origin::Unit, Origin::Module]),
            statistics.capacities_from(&[Origin::Default]),
        ];
        sums.iter_mut()
            .zip(numbers)
            .for_each(|(sum, number)| *sum += number);
        let [nodes, links, parallel, places, stated, derived, default] =
            numbers.map(|it| it.to_string());
        let notes: usize = statistics.notes.iter().map(|(_, seen)| seen.count).sum();
        let name = path.strip_prefix(dir).unwrap_or(path).display().to_string();
        let components = statistics.components.len().to_string();
        table.row([
            name,
            nodes,
            links,
            parallel,
            components,
            places,
            stated,
            derived,
            default,
            notes.to_string(),
        ]);
    }
    let [nodes, links, parallel, places, stated, derived, default] = sums.map(|it| it.to_string());
    let read = results.iter().filter(|result| result.is_ok()).count();
    let name = format!("{read} files");
    table.row([
        name,
        nodes,
        links,
        parallel,
        String::new(),
        places,
        stated,
        derived,
        default,
        String::new(),
    ]);
    format!("{table}{errors}")
}

/// Topologies in a directory and, to some depth, below it. Links are not followed.
fn find(
    dir: &Path,
    depth: usize,
    files: &mut Vec<PathBuf>,
    scripts: &mut usize,
) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() && depth < 8 {
            find(&path, depth + 1, files, scripts)?;
        } else if kind.is_file() {
            match path.extension().and_then(|it| it.to_str()) {
                Some("graphml" | "xml" | "json" | "toml") => files.push(path),
                Some("py") => *scripts += 1,
                _ => {}
            }
        }
    }
    Ok(())
}

fn run_convert(convert: &Convert) -> anyhow::Result<()> {
    let format = convert.to.or_else(|| Format::of(&convert.out));
    let Some(format) = format else {
        bail!(
            "say --to toml, json, graphml or mininet; {} does not tell",
            convert.out.display()
        );
    };
    let topology = load(&convert.source, &convert.reading)?;
    let text = format.write(&topology);
    eprint!("{}", topology.notes);
    if !topology.demands.is_empty() && !format.has_demands() {
        eprintln!(
            "{} demands are left out; toml and json have them",
            topology.demands.len()
        );
    }
    if convert.out == Path::new("-") {
        return print(&text);
    }
    std::fs::write(&convert.out, text).with_context(|| convert.out.display().to_string())
}

fn run_plot(command: &Plot) -> anyhow::Result<()> {
    let topology = load(&command.source, &command.reading)?;
    let picture = plot::draw(&topology);
    eprint!("{}", topology.notes);
    if picture.labels_left_out > 0 {
        eprintln!(
            "{} names found no room; they are shown under the pointer",
            picture.labels_left_out
        );
    }
    std::fs::write(&command.out, picture.svg).with_context(|| command.out.display().to_string())
}
