//! SNDlib's XML (Orlowski et al., Networks 55(3), 2010, doi 10.1002/net.20371): networks, and matrices of demands. Its files are
//! under an academic licence, so none comes with this project.

use super::build::{Builder, Lines, delays_from_places, rate, tidy};
use super::{Coordinates, Demand, Fact, Kind, Note, Origin, Place, Refusal, Topology, label, xml};
use payflow_qos::BitRate;
use roxmltree::Node as Element;

/// What numbers without a unit are taken for.
const USUAL_UNIT: u64 = 1_000_000;

/// Reads a network or a matrix of demands, which is a network without links.
pub(super) fn read(text: &str, called: &str) -> Result<Topology, Refusal> {
    let document = xml::parse(text)?;
    let lines = Lines::new(text);
    let root = document.root_element();
    if root.tag_name().name() != "network" {
        let name = root.tag_name().name();
        return Err(Refusal::at(
            1,
            format!("<{name}> where SNDlib has <network>"),
        ));
    }
    let structure = child(root, "networkStructure");
    let structure = structure.ok_or_else(|| Refusal::new("no <networkStructure>"))?;
    let meta = child(root, "meta");
    let said = |name: &'static str| text_of(child(meta?, name)?);

    let mut builder = Builder::new(called);
    builder.topology.source =
        said("origin").map_or_else(|| "SNDlib".to_owned(), |it| format!("SNDlib; {}", tidy(it)));
    builder.topology.licence = Some("ZIB Academic License".to_owned());
    let unit = match said("unit") {
        Some(unit) => Some(label::unit_of(unit).ok_or_else(|| {
            Refusal::new(format!("the unit {unit:?} is not known; it should be MBITPERSEC, KBITPERSEC, GBITPERSEC or left out"))
        })?),
        None => None,
    };
    let reader = Reader { lines, unit };

    let nodes = child(structure, "nodes").ok_or_else(|| Refusal::new("no <nodes>"))?;
    if nodes.attribute("coordinatesType") == Some("pixel") {
        builder.topology.coordinates = Coordinates::Plane;
    }
    for node in children(nodes, "node") {
        let line = reader.lines.of(node.range().start);
        let id = node.attribute("id").ok_or_else(|| Refusal {
            line,
            problem: "a <node> without an id".to_owned(),
        })?;
        let place = child(node, "coordinates").map(|at| Place {
            x: number(at, "x").unwrap_or(f64::NAN),
            y: number(at, "y").unwrap_or(f64::NAN),
        });
        builder.node(line, id, Some(id), Kind::Switch, place)?;
    }
    for link in child(structure, "links")
        .into_iter()
        .flat_map(|it| children(it, "link"))
    {
        let ends = reader.ends(&builder, link)?;
        let capacity = reader.capacity(&mut builder, link);
        builder.link(reader.lines.of(link.range().start), ends, capacity, None)?;
    }
    for demand in child(root, "demands")
        .into_iter()
        .flat_map(|it| children(it, "demand"))
    {
        let line = reader.lines.of(demand.range().start);
        let [from, to] = reader.ends(&builder, demand)?;
        let value = number(demand, "demandValue").and_then(|it| reader.rate(it));
        let Some(rate) = value else {
            let id = demand.attribute("id").unwrap_or_default();
            builder.topology.notes.add(Note::NoDemand, || tidy(id));
            continue;
        };
        builder.demand(line, Demand { from, to, rate })?;
    }
    let mut topology = builder.finish()?;
    delays_from_places(&mut topology);
    Ok(topology)
}

struct Reader {
    lines: Lines,
    unit: Option<u64>,
}

impl Reader {
    fn ends(&self, builder: &Builder, element: Element<'_, '_>) -> Result<[usize; 2], Refusal> {
        let line = self.lines.of(element.range().start);
        let end = |name: &'static str| {
            let id = child(element, name)
                .and_then(text_of)
                .ok_or_else(|| Refusal {
                    line,
                    problem: format!("no <{name}>"),
                })?;
            builder.find(line, id)
        };
        Ok([end("source")?, end("target")?])
    }

    fn rate(&self, number: f64) -> Option<BitRate> {
        rate(number, self.unit.unwrap_or(USUAL_UNIT))
    }

    /// What is installed; else one of the smallest modules that may be.
    fn capacity(&self, builder: &mut Builder, link: Element<'_, '_>) -> Option<Fact<BitRate>> {
        let installed = child(link, "preInstalledModule").into_iter();
        let modules = child(link, "additionalModules").into_iter();
        let modules = modules.flat_map(|all| children(all, "addModule"));
        let mut rates = |module: Element<'_, '_>| {
            let number = number(module, "capacity").filter(|number| *number != 0.0)?;
            let rate = self.rate(number);
            if rate.is_none() {
                builder.no_capacity(self.lines.of(module.range().start), &number.to_string());
            }
            rate
        };
        let stated = match self.unit {
            Some(_) => Origin::Stated,
            None => Origin::Unit,
        };
        let installed = installed.filter_map(&mut rates).max();
        if let Some(value) = installed {
            return Some(Fact {
                value,
                origin: stated,
            });
        }
        let value = modules.filter_map(&mut rates).min()?;
        let origin = Origin::Module;
        Some(Fact { value, origin })
    }
}

fn children<'a, 'b>(
    element: Element<'a, 'b>,
    name: &'static str,
) -> impl Iterator<Item = Element<'a, 'b>> {
    let elements = element.children().filter(Element::is_element);
    elements.filter(move |child| child.tag_name().name() == name)
}

fn child<'a, 'b>(element: Element<'a, 'b>, name: &'static str) -> Option<Element<'a, 'b>> {
    children(element, name).next()
}

fn text_of<'a>(element: Element<'a, '_>) -> Option<&'a str> {
    element
        .text()
        .map(str::trim)
        .filter(|text| !text.is_empty())
}

fn number(element: Element<'_, '_>, name: &'static str) -> Option<f64> {
    text_of(child(element, name)?)?.parse().ok()
}
