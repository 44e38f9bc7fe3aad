//! What `mn --topo` calls topologies: the same nodes, names and links as Mininet 2.3 makes, in its order.

use super::arguments::Arguments;
use super::build::Builder;
use super::{Kind, MOST_NODES, Refusal, Topology};

const NAMES: &str = "minimal, single, reversed, linear, tree and torus";

/// `tree,2`, `linear,4,n=2`, `torus,3,3`, ...
pub(super) fn read(text: &str) -> Result<Topology, Refusal> {
    let arguments = Arguments::parse(text)?;
    let mut net = Net(Builder::new(&format!("mn --topo {text}")));
    net.0.topology.source = "Mininet, mn --topo".to_owned();
    // Either alone would do for the bound; their product is bounded as nodes are.
    let many = 1..=MOST_NODES;
    match arguments.name.as_str() {
        "minimal" => {
            arguments.only(&[])?;
            net.single(2)?;
        }
        "single" | "reversed" => {
            let arguments = arguments.only(&["k"])?;
            net.single(arguments.number("k", 2, many)?)?;
        }
        "linear" => {
            let arguments = arguments.only(&["k", "n"])?;
            net.linear(
                arguments.number("k", 2, many.clone())?,
                arguments.number("n", 1, many)?,
            )?;
        }
        "tree" => {
            let arguments = arguments.only(&["depth", "fanout"])?;
            let depth = arguments.number("depth", 1, 1..=16)?;
            net.tree(depth, arguments.number("fanout", 2, many)?, &mut (1, 1))?;
        }
        "torus" => {
            let arguments = arguments.only(&["x", "y", "n"])?;
            let side = |name| arguments.number(name, 0, 3..=MOST_NODES);
            net.torus(side("x")?, side("y")?, arguments.number("n", 1, many)?)?;
        }
        other => {
            return Err(Refusal::new(format!(
                "Mininet has no topology {other:?}; it has {NAMES}"
            )));
        }
    }
    net.0.finish()
}

struct Net(Builder);

impl Net {
    fn switch(&mut self, name: &str) -> Result<usize, Refusal> {
        self.0.node(None, name, Some(name), Kind::Switch, None)
    }

    fn host(&mut self, name: &str) -> Result<usize, Refusal> {
        self.0.node(None, name, Some(name), Kind::Host, None)
    }

    fn link(&mut self, a: usize, b: usize) -> Result<(), Refusal> {
        self.0.link(None, [a, b], None, None)
    }

    /// `reversed` differs from `single` by the numbers of its ports alone.
    fn single(&mut self, hosts: usize) -> Result<(), Refusal> {
        let switch = self.switch("s1")?;
        for number in 1..=hosts {
            let host = self.host(&format!("h{number}"))?;
            self.link(host, switch)?;
        }
        Ok(())
    }

    fn linear(&mut self, switches: usize, hosts: usize) -> Result<(), Refusal> {
        let mut last = None;
        for number in 1..=switches {
            let switch = self.switch(&format!("s{number}"))?;
            for n in 1..=hosts {
                let name = match hosts {
                    1 => format!("h{number}"),
                    _ => format!("h{n}s{number}"),
                };
                let host = self.host(&name)?;
                self.link(host, switch)?;
            }
            if let Some(last) = last {
                self.link(switch, last)?;
            }
            last = Some(switch);
        }
        Ok(())
    }

    fn tree(
        &mut self,
        depth: usize,
        fanout: usize,
        next: &mut (usize, usize),
    ) -> Result<usize, Refusal> {
        if depth == 0 {
            let name = format!("h{}", next.1);
            next.1 += 1;
            return self.host(&name);
        }
        let node = self.switch(&format!("s{}", next.0))?;
        next.0 += 1;
        for _ in 0..fanout {
            let child = self.tree(depth - 1, fanout, next)?;
            self.link(node, child)?;
        }
        Ok(node)
    }

    fn torus(&mut self, x: usize, y: usize, hosts: usize) -> Result<(), Refusal> {
        let mut switches = Vec::new();
        for i in 1..=x {
            for j in 1..=y {
                let switch = self.switch(&format!("s{i}x{j}"))?;
                switches.push(switch);
                for k in 1..=hosts {
                    let name = match hosts {
                        1 => format!("h{i}x{j}"),
                        _ => format!("h{i}x{j}x{k}"),
                    };
                    let host = self.host(&name)?;
                    self.link(host, switch)?;
                }
            }
        }
        for i in 0..x {
            for j in 0..y {
                let at = switches[i * y + j];
                self.link(at, switches[i * y + (j + 1) % y])?;
                self.link(at, switches[(i + 1) % x * y + j])?;
            }
        }
        Ok(())
    }
}
