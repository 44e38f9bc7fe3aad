//! Throughput over time, as an SVG picture.

use std::path::Path;

use plotters::prelude::*;

use crate::traffic::series::Series;

const SIZE: (u32, u32) = (1100, 420);
/// What is left for the curves between margins and labels of the axes, in pixels.
const PLOT: (f64, f64) = (1028.0, 333.0);
/// A character of the small letters, in pixels: rather too wide than too narrow.
const CHARACTER: f64 = 6.6;
/// A row of names of phases, in pixels.
const ROW: f64 = 15.0;
/// What a legend takes beside its letters, in pixels.
const LEGEND: f64 = 72.0;
/// One colour a line, distinguishable also by people who do not see red and green apart (Okabe and Ito).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// What to draw.
#[derive(Clone, Debug)]
pub struct ThroughputPlot {
    /// The heading.
    pub title: String,
    /// One line each, in order of importance.
    pub lines: Vec<Line>,
    /// Moments to mark, each with what begins there.
    pub phases: Vec<Phase>,
    /// A level to mark: the capacity that all share, bits per second.
    pub capacity_bps: u64,
}

/// One flow, over several measurements.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its name in the legend.
    pub label: String,
    /// What arrived; gaps between the parts stay gaps.
    pub parts: Vec<Series>,
}

/// A moment from which on something is different.
#[derive(Clone, Debug)]
pub struct Phase {
    /// What begins.
    pub label: String,
    /// When, Unix time in milliseconds.
    pub start_unix_ms: u64,
}

/// A picture that could not be drawn or written.
#[derive(Debug, thiserror::Error)]
#[error("plot {path}: {problem}")]
pub struct PlotError {
    path: String,
    problem: String,
}

impl ThroughputPlot {
    /// Draws it to a file. The time axis begins with the first bucket of any line.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), PlotError> {
        self.draw(path).map_err(|error| PlotError {
            path: path.display().to_string(),
            problem: error.to_string(),
        })
    }

    fn draw(&self, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let zero_ms = self
            .lines
            .iter()
            .flat_map(|line| &line.parts)
            .filter(|part| !part.packets.is_empty())
            .map(|part| part.start_unix_ms)
            .min()
            .unwrap_or(0);
        let points: Vec<Vec<Vec<(f64, f64)>>> = self
            .lines
            .iter()
            .map(|line| line.parts.iter().map(|part| curve(part, zero_ms)).collect())
            .collect();
        let all = || points.iter().flatten().flatten();
        let end = all().map(|point| point.0).fold(1.0, f64::max);
        let highest = all()
            .map(|point| point.1)
            .fold(mbit(self.capacity_bps), f64::max);
        // The legend stands to the right of the curves, never over them, and the phases are named above.
        let labels = self.lines.iter().map(|line| line.label.as_str());
        let legend = labels.chain(["capacity"]).map(width).fold(0.0, f64::max) + LEGEND;
        let right = end * PLOT.0 / (PLOT.0 - legend);
        let starts = self.phases.iter();
        let starts: Vec<f64> = starts
            .map(|it| seconds(it.start_unix_ms.saturating_sub(zero_ms)))
            .collect();
        let rows = rows(&self.phases, &starts, right / PLOT.0);
        let most = rows.iter().max().map_or(0.0, |most| f64::from(most + 1));
        let row = ROW / PLOT.1;
        let top = highest * 1.04 / (1.0 - most * row);

        let area = SVGBackend::new(path, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(48)
            .build_cartesian_2d(0.0..right, 0.0..top)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(230, 230, 230))
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| format!("{y:.0}"))
            .x_desc("seconds")
            .y_desc("Mbit/s")
            .draw()?;

        let grey = RGBColor(120, 120, 120);
        let capacity = [
            (0.0, mbit(self.capacity_bps)),
            (end, mbit(self.capacity_bps)),
        ];
        chart
            .draw_series(DashedLineSeries::new(capacity, 6, 4, BLACK.stroke_width(1)))?
            .label("capacity")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], BLACK));
        for ((phase, at), number) in self.phases.iter().zip(starts).zip(rows) {
            let height = top * (1.0 - (most - 1.0 - f64::from(number)) * row);
            chart.draw_series(LineSeries::new([(at, 0.0), (at, height)], grey))?;
            chart.draw_series([Text::new(
                phase.label.clone(),
                (at + right * 3.0 / PLOT.0, height),
                ("sans-serif", 12),
            )])?;
        }
        for ((line, parts), colour) in self
            .lines
            .iter()
            .zip(points)
            .zip(COLOURS.into_iter().cycle())
        {
            for (number, part) in parts.into_iter().enumerate() {
                let drawn = chart.draw_series(LineSeries::new(part, colour.stroke_width(2)))?;
                if number == 0 {
                    drawn.label(&line.label).legend(move |(x, y)| {
                        PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2))
                    });
                }
            }
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::MiddleRight)
            .background_style(WHITE.mix(0.8))
            .border_style(grey)
            .draw()?;
        area.present()?;
        Ok(())
    }
}

/// Of a name, in pixels.
fn width(name: &str) -> f64 {
    let characters = u32::try_from(name.chars().count()).unwrap_or(u32::MAX);
    f64::from(characters) * CHARACTER
}

/// The row in which each phase is named, from the lowest on: above all that begin under its name, so that no line and no name
/// goes through another name.
fn rows(phases: &[Phase], starts: &[f64], seconds_per_pixel: f64) -> Vec<u32> {
    let mut rows: Vec<u32> = vec![0; phases.len()];
    for (number, phase) in phases.iter().enumerate().rev() {
        let (from, later) = (starts[number], number + 1..phases.len());
        let until = from + (width(&phase.label) + 6.0) * seconds_per_pixel;
        let under = later.filter(|it| starts[*it] < until);
        rows[number] = under.map(|it| rows[it] + 1).max().unwrap_or(0);
    }
    rows
}

/// What is averaged for one point: long enough that a TCP flow's bursts do not hide the picture.
const POINT_MS: u64 = 500;

/// Seconds since `zero_ms` and Mbit/s, at the middle of each point. The rest at the end, which fills no point, is left out.
fn curve(series: &Series, zero_ms: u64) -> Vec<(f64, f64)> {
    let rates: Vec<(u64, u64)> = series.rates_bps().collect();
    let buckets = POINT_MS.div_ceil(series.bucket_ms.max(1)).max(1);
    rates
        .chunks_exact(usize::try_from(buckets).unwrap_or(1))
        .filter_map(|chunk| {
            let start = chunk.first()?.0.saturating_sub(zero_ms);
            let mean = chunk.iter().map(|(_, bps)| bps).sum::<u64>() / buckets;
            Some((seconds(start + buckets * series.bucket_ms / 2), mbit(mean)))
        })
        .collect()
}

/// A picture needs no more than the 53 bits that stay exact.
#[allow(clippy::cast_precision_loss)]
fn mbit(bps: u64) -> f64 {
    bps as f64 / 1e6
}

#[allow(clippy::cast_precision_loss)]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1e3
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn no_name_of_a_phase_is_crossed_by_a_line_or_a_name() {
        let phase = |(label, start_s): (&str, u64)| Phase {
            label: label.to_owned(),
            start_unix_ms: start_s * 1_000,
        };
        let phases = [
            ("first", 0),
            ("a long name", 50),
            ("another", 60),
            ("near", 90),
        ];
        let phases = phases.map(phase);
        let starts = [0.0, 50.0, 60.0, 90.0];
        assert_eq!(rows(&phases, &starts, 1.0), [0, 2, 1, 0]);
        assert_eq!(rows(&phases, &starts, 0.1), [0, 0, 0, 0]);
        assert_eq!(rows(&[], &[], 1.0), [0; 0]);
    }

    #[test]
    fn a_plot_shows_its_lines_and_phases() {
        let mut series = Series::new(100);
        for ms in 0..3_000 {
            series.add((1_790_000_000_000 + ms) * 1_000_000, 1_250);
        }
        let plot = ThroughputPlot {
            title: "Throughput at the bottleneck".to_owned(),
            lines: vec![Line {
                label: "paid flow".to_owned(),
                parts: vec![series],
            }],
            phases: vec![Phase {
                label: "reserved & paid".to_owned(),
                start_unix_ms: 1_790_000_001_000,
            }],
            capacity_bps: 20_000_000,
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("throughput.svg");
        plot.write(&path).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        for text in [
            "<svg",
            "Throughput at the bottleneck",
            "paid flow",
            "reserved &amp; paid",
            "Mbit/s",
        ] {
            assert!(svg.contains(text), "{text} is not in the picture");
        }
        let nowhere = plot
            .write(&dir.path().join("missing/throughput.svg"))
            .unwrap_err()
            .to_string();
        assert!(nowhere.contains("missing/throughput.svg"), "{nowhere}");
    }
}
