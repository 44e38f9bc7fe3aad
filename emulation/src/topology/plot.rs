//! A topology as an SVG picture that needs nothing beside it, for light and dark pages.

use super::graphml::escape;
use super::layout::positions;
use super::statistics::rate;
use super::{Kind, Link, Origin, Topology};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

const WIDTH: f64 = 1_100.0;
const MARGIN: f64 = 56.0;
/// Room for the title above, and for legend and source below.
const HEAD: f64 = 64.0;
const FOOT: f64 = 64.0;
/// Above so many nodes names are shown under the pointer alone.
const MOST_LABELLED: usize = 1_500;

/// Without variables, which not every program that shows SVG knows.
const STYLE: &str = "
.ground{fill:#ffffff}
text{font-family:system-ui,'Segoe UI',Helvetica,Arial,sans-serif;fill:#1c2733}
.title{font-size:19px;font-weight:600}
.soft{fill:#5d6b7a;font-size:12px}
.links path{fill:none;stroke:#4f7cac;stroke-linecap:round;stroke-opacity:.8}
.links .assumed{stroke:#a8957a;stroke-dasharray:6 4}
.nodes{stroke:#ffffff;stroke-width:1.2}
.switch{fill:#173f6b}
.host{fill:#c4532d}
.halo{stroke:#ffffff;stroke-width:3px;stroke-linejoin:round;stroke-opacity:.85}
@media (prefers-color-scheme:dark){
.ground{fill:#11161c}
text{fill:#e8edf2}
.soft{fill:#9aa8b6}
.links path{stroke:#6f9fd0}
.links .assumed{stroke:#8f7f66}
.nodes{stroke:#11161c}
.switch{fill:#b9d4f1}
.host{fill:#f0936f}
.halo{stroke:#11161c}
}
";

/// A picture.
pub(super) struct Picture {
    pub(super) svg: String,
    /// Names for which there was no room beside their nodes.
    pub(super) labels_left_out: usize,
}

/// A rectangle: left, top, right, bottom.
type Rect = [f64; 4];

/// Draws a topology.
pub(super) fn draw(topology: &Topology) -> Picture {
    let (at, height) = fit(positions(topology));
    let count = topology.nodes.len();
    let radius = (7.5 - count as f64 / 40.0).clamp(2.6, 7.0);
    let font = if count > 150 {
        9.0
    } else if count > 60 {
        10.0
    } else {
        12.0
    };

    let title = escape(&topology.name);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" \
         height=\"{height:.0}\" role=\"img\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
         <rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n\
         <text class=\"title\" x=\"{MARGIN}\" y=\"34\">{title}</text>\n"
    );
    let switches = topology.switches().count();
    let hosts = count - switches;
    let nodes = if hosts == 0 {
        format!("{switches} nodes")
    } else {
        format!("{switches} switches, {hosts} hosts")
    };
    // Writing to a string does not fail.
    let _ = writeln!(
        svg,
        "<text class=\"soft\" x=\"{MARGIN}\" y=\"54\">{nodes}, {} links</text>",
        topology.links.len()
    );
    draw_links(topology, &at, &mut svg);
    draw_nodes(topology, &at, radius, &mut svg);
    let labels_left_out = draw_names(topology, &at, radius, font, height, &mut svg);
    draw_foot(topology, height, &mut svg);
    svg.push_str("</svg>\n");
    Picture {
        svg,
        labels_left_out,
    }
}

/// Into the picture, in proportion; with its height.
fn fit(mut at: Vec<[f64; 2]>) -> (Vec<[f64; 2]>, f64) {
    let low = at.iter().fold([f64::INFINITY; 2], |c, it| {
        [c[0].min(it[0]), c[1].min(it[1])]
    });
    let high = at.iter().fold([f64::NEG_INFINITY; 2], |c, it| {
        [c[0].max(it[0]), c[1].max(it[1])]
    });
    let size = [(high[0] - low[0]).max(1e-12), (high[1] - low[1]).max(1e-12)];
    let room = WIDTH - 2.0 * MARGIN;
    let inner = (room * size[1] / size[0]).clamp(160.0, 900.0);
    let scale = (room / size[0]).min(inner / size[1]);
    let offset = [
        (WIDTH - scale * size[0]) / 2.0,
        HEAD + 24.0 + (inner - scale * size[1]) / 2.0,
    ];
    for it in &mut at {
        for axis in 0..2 {
            it[axis] = offset[axis] + scale * (it[axis] - low[axis]);
        }
    }
    (at, HEAD + 24.0 + inner + 24.0 + FOOT)
}

fn is_assumed(link: &Link) -> bool {
    link.capacity
        .is_none_or(|capacity| capacity.origin == Origin::Default)
}

/// How wide lines are, from 1.4 to 5, by the logarithm of what links carry.
fn widths(topology: &Topology) -> impl Fn(f64) -> f64 {
    let logs = topology.links.iter().filter_map(|link| link.capacity);
    let logs: Vec<f64> = logs
        .map(|capacity| (capacity.value.0 as f64).log10())
        .collect();
    let least = logs.iter().copied().fold(f64::INFINITY, f64::min);
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    move |bps| match most - least {
        range if range > 0.01 => 1.4 + 3.6 * ((bps.log10() - least) / range).clamp(0.0, 1.0),
        _ => 2.0,
    }
}

fn draw_links(topology: &Topology, at: &[[f64; 2]], svg: &mut String) {
    let width = widths(topology);
    let mut between = BTreeMap::<[usize; 2], Vec<usize>>::new();
    for (number, link) in topology.links.iter().enumerate() {
        let [a, b] = link.ends;
        between
            .entry([a.min(b), a.max(b)])
            .or_default()
            .push(number);
    }
    svg.push_str("<g class=\"links\">\n");
    for ([a, b], links) in between {
        let (from, to) = (at[a], at[b]);
        let apart = [to[0] - from[0], to[1] - from[1]];
        let length = apart[0].hypot(apart[1]).max(1e-9);
        // Parallel links are bows beside each other.
        let step = (length / links.len() as f64).min(14.0);
        for (number, &link) in links.iter().enumerate() {
            let bend = (number as f64 - (links.len() as f64 - 1.0) / 2.0) * step * 2.0;
            let link = &topology.links[link];
            let bps = link
                .capacity
                .map_or(0.0, |capacity| capacity.value.0 as f64);
            let class = if is_assumed(link) {
                " class=\"assumed\""
            } else {
                ""
            };
            let shape = if bend == 0.0 {
                format!("L{:.1} {:.1}", to[0], to[1])
            } else {
                let control = [
                    from[0] + apart[0] / 2.0 - apart[1] / length * bend,
                    from[1] + apart[1] / 2.0 + apart[0] / length * bend,
                ];
                format!(
                    "Q{:.1} {:.1} {:.1} {:.1}",
                    control[0], control[1], to[0], to[1]
                )
            };
            let names = [a, b].map(|end| escape(&topology.nodes[end].name));
            let mut about = format!("{} – {}", names[0], names[1]);
            if let Some(capacity) = link.capacity {
                let _ = write!(about, ": {} ({})", rate(bps), capacity.origin);
            }
            if let Some(delay) = link.delay_us {
                let _ = write!(
                    about,
                    ", {:.3} ms ({})",
                    delay.value as f64 / 1e3,
                    delay.origin
                );
            }
            let _ = writeln!(
                svg,
                "<path{class} d=\"M{:.1} {:.1}{shape}\" stroke-width=\"{:.1}\"><title>{about}</title></path>",
                from[0],
                from[1],
                width(bps.max(1.0))
            );
        }
    }
    svg.push_str("</g>\n");
}

fn draw_nodes(topology: &Topology, at: &[[f64; 2]], radius: f64, svg: &mut String) {
    svg.push_str("<g class=\"nodes\">\n");
    for (node, [x, y]) in topology.nodes.iter().zip(at) {
        let about = escape(&node.name);
        let _ = match node.kind {
            Kind::Switch => writeln!(
                svg,
                "<circle class=\"switch\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\"><title>{about}</title></circle>"
            ),
            Kind::Host => writeln!(
                svg,
                "<rect class=\"host\" x=\"{:.1}\" y=\"{:.1}\" width=\"{side:.1}\" height=\"{side:.1}\"><title>{about}</title></rect>",
                x - radius * 0.8,
                y - radius * 0.8,
                side = radius * 1.6
            ),
        };
    }
    svg.push_str("</g>\n");
}

/// Puts names beside their nodes where they cover no node and no other name, and cross few links; nodes with many links first.
fn draw_names(
    topology: &Topology,
    at: &[[f64; 2]],
    radius: f64,
    font: f64,
    height: f64,
    svg: &mut String,
) -> usize {
    let count = topology.nodes.len();
    if count > MOST_LABELLED {
        return count;
    }
    let lines: BTreeSet<[usize; 2]> = topology.links.iter().map(|link| link.ends).collect();
    let of = topology.links_of_nodes();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|node| {
        (
            topology.nodes[*node].kind == Kind::Host,
            std::cmp::Reverse(of[*node].len()),
        )
    });
    let dots: Vec<Rect> = at
        .iter()
        .map(|[x, y]| [x - radius, y - radius, x + radius, y + radius])
        .collect();
    let (mut placed, mut left_out, mut names) = (Vec::<Rect>::new(), 0, String::new());
    for node in order {
        let name = &topology.nodes[node].name;
        let width = width_of(name) * font;
        let best = candidates(at[node], radius, width, font)
            .into_iter()
            .filter(|rect| {
                let inside = rect[0] >= 4.0
                    && rect[2] <= WIDTH - 4.0
                    && rect[1] >= HEAD
                    && rect[3] <= height - FOOT;
                let others = dots
                    .iter()
                    .enumerate()
                    .filter(|(other, _)| *other != node)
                    .map(|(_, dot)| dot);
                inside
                    && !placed
                        .iter()
                        .chain(others)
                        .any(|other| overlap(rect, other))
            })
            .map(|rect| {
                (
                    lines
                        .iter()
                        .filter(|ends| crosses(at[ends[0]], at[ends[1]], &rect))
                        .count(),
                    rect,
                )
            })
            .min_by_key(|(crossed, _)| *crossed);
        let Some((_, rect)) = best else {
            left_out += 1;
            continue;
        };
        let (left, baseline) = (rect[0], rect[3] - font * 0.25);
        let _ = writeln!(
            names,
            "<text x=\"{left:.1}\" y=\"{baseline:.1}\">{}</text>",
            escape(name)
        );
        placed.push(rect);
    }
    // Twice, so that links do not run through them: once as wide as a halo.
    for class in ["halo", "names"] {
        let _ = write!(
            svg,
            "<g class=\"{class}\" font-size=\"{font}\">\n{names}</g>\n"
        );
    }
    left_out
}

/// Right, left, above, below, and between those.
fn candidates([x, y]: [f64; 2], radius: f64, width: f64, font: f64) -> [Rect; 8] {
    let (gap, height) = (radius + 3.0, font * 1.2);
    let near = gap * 0.75;
    let corners = [
        [x + gap, y - height / 2.0],
        [x - gap - width, y - height / 2.0],
        [x - width / 2.0, y - gap - height],
        [x - width / 2.0, y + gap],
        [x + near, y - near - height],
        [x + near, y + near],
        [x - near - width, y - near - height],
        [x - near - width, y + near],
    ];
    corners.map(|[left, top]| [left, top, left + width, top + height])
}

/// How wide a text is, in font sizes, for a sans-serif font, rather too wide than too narrow.
fn width_of(text: &str) -> f64 {
    let width = |c: char| match c {
        'i' | 'j' | 'l' | '.' | ',' | '\'' | '|' | '!' | ':' | ';' | ' ' => 0.34,
        'm' | 'w' | 'M' | 'W' | '@' => 0.95,
        'A'..='Z' => 0.72,
        c if c > '\u{2e80}' => 1.05,
        _ => 0.6,
    };
    text.chars().map(width).sum()
}

fn overlap(a: &Rect, b: &Rect) -> bool {
    a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
}

/// Whether a line passes through a rectangle (Liang and Barsky).
fn crosses(from: [f64; 2], to: [f64; 2], rect: &Rect) -> bool {
    let (mut enters, mut leaves) = (0.0_f64, 1.0_f64);
    for axis in 0..2 {
        let way = to[axis] - from[axis];
        let (low, high) = (rect[axis] - from[axis], rect[axis + 2] - from[axis]);
        if way.abs() < 1e-12 {
            if low > 0.0 || high < 0.0 {
                return false;
            }
            continue;
        }
        let (a, b) = (low / way, high / way);
        enters = enters.max(a.min(b));
        leaves = leaves.min(a.max(b));
    }
    enters <= leaves
}

/// What the lines mean, and whose map this is.
fn draw_foot(topology: &Topology, height: f64, svg: &mut String) {
    let width = widths(topology);
    let capacities = topology.links.iter().filter_map(|link| link.capacity);
    let rates: BTreeSet<(u64, bool)> = capacities
        .map(|it| (it.value.0, it.origin == Origin::Default))
        .collect();
    let mut shown: Vec<(u64, bool)> = rates.iter().copied().collect();
    if shown.len() > 6 {
        let steps = (0..6).map(|step| shown[step * (shown.len() - 1) / 5]);
        shown = steps.collect();
    }
    let (mut x, y) = (MARGIN, height - 42.0);
    svg.push_str("<g class=\"links\">\n");
    for (bps, assumed) in shown {
        let text = format!(
            "{}{}",
            rate(bps as f64),
            if assumed { " (assumed)" } else { "" }
        );
        let class = if assumed { " class=\"assumed\"" } else { "" };
        let _ = writeln!(
            svg,
            "<path{class} d=\"M{x:.1} {y:.1}h34\" stroke-width=\"{:.1}\"/><text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>",
            width(bps as f64),
            x + 42.0,
            y + 4.0
        );
        x += 42.0 + width_of(&text) * 12.0 + 24.0;
    }
    svg.push_str("</g>\n");
    let licence = topology.licence.as_deref();
    let licence = licence.map_or_else(String::new, |it| format!("{it}, "));
    let mut source = format!("{licence}{}", topology.source);
    if width_of(&source) * 12.0 > WIDTH - 2.0 * MARGIN {
        while width_of(&source) * 12.0 > WIDTH - 2.0 * MARGIN - 12.0 && source.pop().is_some() {}
        source.push('…');
    }
    let _ = writeln!(
        svg,
        "<text class=\"soft\" x=\"{MARGIN}\" y=\"{:.1}\">{}</text>",
        height - 16.0,
        escape(&source)
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{Reading, load};

    #[test]
    fn a_picture_shows_every_node_and_link_and_whose_map_it_is() {
        let topology =
            load("gen:fat-tree,k=4,capacity=1Gbit", &Reading::default()).expect("a fat tree");
        let picture = draw(&topology);
        let document = roxmltree::Document::parse(&picture.svg).expect("XML");
        let count = |name: &str| {
            document
                .descendants()
                .filter(|it| it.has_tag_name(("http://www.w3.org/2000/svg", name)))
                .count()
        };
        assert_eq!(count("circle"), 20);
        assert_eq!(count("rect"), 1 + 16);
        assert_eq!(count("path"), 48 + 1);
        assert!(picture.svg.contains("gen:fat-tree"));
        assert!(
            !picture.svg.contains("http://") || !picture.svg.contains("href"),
            "nothing is fetched"
        );
    }

    #[test]
    fn names_cover_neither_nodes_nor_each_other() {
        let topology = load("gen:waxman,n=80,seed=5", &Reading::default()).expect("a topology");
        let (at, height) = fit(positions(&topology));
        let mut svg = String::new();
        let left_out = draw_names(&topology, &at, 5.0, 12.0, height, &mut svg);
        let (_, names) = svg.split_once("</g>\n").expect("halos, then names");
        let document = roxmltree::Document::parse(names.trim()).expect("XML");
        let rects: Vec<Rect> = document
            .descendants()
            .filter(|it| it.has_tag_name("text"))
            .map(|text| {
                let number = |name| {
                    text.attribute(name)
                        .and_then(|it| it.parse::<f64>().ok())
                        .expect("a number")
                };
                let (left, bottom) = (number("x"), number("y") + 3.0);
                [
                    left,
                    bottom - 14.4,
                    left + width_of(text.text().unwrap_or_default()) * 12.0,
                    bottom,
                ]
            })
            .collect();
        assert_eq!(rects.len() + left_out, 80);
        assert!(rects.len() > 60, "{left_out} names found no room");
        for (number, rect) in rects.iter().enumerate() {
            // Positions are written to a tenth.
            let inner = [rect[0] + 0.2, rect[1] + 0.2, rect[2] - 0.2, rect[3] - 0.2];
            assert!(!rects[..number].iter().any(|other| overlap(&inner, other)));
            assert!(
                !at.iter()
                    .any(|[x, y]| overlap(&inner, &[x - 4.8, y - 4.8, x + 4.8, y + 4.8]))
            );
        }
    }

    #[test]
    fn a_line_crosses_a_rectangle_or_not() {
        let rect = [0.0, 0.0, 10.0, 10.0];
        assert!(crosses([-5.0, 5.0], [15.0, 5.0], &rect));
        assert!(crosses([2.0, 2.0], [3.0, 3.0], &rect));
        assert!(!crosses([-5.0, -5.0], [-1.0, 20.0], &rect));
        assert!(!crosses([-5.0, 11.0], [15.0, 11.0], &rect));
        assert!(!crosses([11.0, -9.0], [30.0, 10.0], &rect));
    }

    #[test]
    fn a_name_is_text_whatever_is_in_it() {
        let mut topology = load("gen:line,2", &Reading::default()).expect("a line");
        topology.name = "<script>&\"".to_owned();
        topology.nodes[0].name = "</text><b>".to_owned();
        let picture = draw(&topology);
        let document = roxmltree::Document::parse(&picture.svg).expect("XML");
        assert!(
            !document
                .descendants()
                .any(|it| it.is_element() && ["script", "b"].contains(&it.tag_name().name()))
        );
    }
}
