//! Welfare by load, as an SVG picture.

use super::{report::Report, statistics::Mean};
use anyhow::anyhow;
use plotters::prelude::*;
use std::path::Path;

const PANEL: (u32, u32) = (560, 420);
/// What one name of the legend takes.
const NAME: (u32, u32) = (340, 20);
/// What lines are apart that would hide one another, as a share of the axis.
const APART: f64 = 0.006;
/// Distinguishable also by people who do not see red and green apart (Okabe and Ito).
const COLOURS: [RGBColor; 7] = [
    RGBColor(150, 150, 150),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(230, 159, 0),
    RGBColor(204, 121, 167),
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
];

/// One panel for each network: what share of the value that was offered came true, by load, a line for each rule, with
/// confidence intervals.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn write(report: &Report, path: &Path) -> anyhow::Result<()> {
    draw(report, path).map_err(|error| anyhow!("plot {}: {error}", path.display()))
}

fn draw(report: &Report, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let panels = report.networks.len().max(1);
    let width = PANEL.0 * u32::try_from(panels)?;
    let first = report.networks.first().and_then(|it| it.loads.first());
    let names = first.iter().flat_map(|it| &it.rules).map(|it| &it.name);
    let names: Vec<_> = names.collect();
    let columns = (width / NAME.0).max(1);
    let rows = u32::try_from(names.len())?.div_ceil(columns);
    let height = PANEL.1 + rows * NAME.1 + 16;
    let area = SVGBackend::new(path, (width, height)).into_drawing_area();
    area.fill(&WHITE)?;
    let (above, below) = area.split_vertically(PANEL.1);
    for (panel, network) in above.split_evenly((1, panels)).iter().zip(&report.networks) {
        let loads = network.loads.iter().map(|it| it.load);
        let end = loads.fold(0.0, f64::max) * 1.06;
        let mut chart = ChartBuilder::on(panel)
            .caption(&network.name, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(48)
            .build_cartesian_2d(0.0..end, 0.0..100.0)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(230, 230, 230))
            .x_label_formatter(&|x| format!("{x:.1}"))
            .y_label_formatter(&|y| format!("{y:.0}"))
            .x_desc("offered load")
            .y_desc("welfare, % of the value offered")
            .draw()?;
        for (rule, colour) in COLOURS.into_iter().enumerate() {
            let middle = f64::from(u32::try_from(COLOURS.len())? - 1) / 2.0;
            let aside = (f64::from(u32::try_from(rule)?) - middle) * APART * end;
            let points = network.loads.iter().filter_map(|at| {
                let Mean { mean, ci95 } = at.rules.get(rule)?.welfare;
                Some((at.load + aside, mean * 100.0, ci95 * 100.0))
            });
            let points: Vec<_> = points.collect();
            let line = points.iter().map(|(x, y, _)| (*x, *y));
            chart.draw_series(LineSeries::new(line, colour.stroke_width(2)))?;
            chart.draw_series(points.iter().map(|(x, y, ci)| {
                let ends = [(*x, (y - ci).max(0.0)), (*x, (y + ci).min(100.0))];
                PathElement::new(ends, colour.stroke_width(2))
            }))?;
            let means = points
                .iter()
                .map(|(x, y, _)| Circle::new((*x, *y), 3, colour.filled()));
            chart.draw_series(means)?;
        }
    }
    for ((number, name), colour) in (0..).zip(names).zip(COLOURS) {
        let (column, row) = (number % columns, number / columns);
        let at = (24 + column * NAME.0, 8 + row * NAME.1);
        let at = (i32::try_from(at.0)?, i32::try_from(at.1)?);
        let line = [(at.0, at.1 + 6), (at.0 + 24, at.1 + 6)];
        below.draw(&PathElement::new(line, colour.stroke_width(3)))?;
        below.draw(&Text::new(
            name.clone(),
            (at.0 + 32, at.1),
            ("sans-serif", 14),
        ))?;
    }
    area.present()?;
    Ok(())
}
