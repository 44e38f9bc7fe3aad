//! What we know of a switch's database: a copy of the rows that matter, kept up by updates.

use std::collections::{BTreeMap, BTreeSet};

use payflow_qos::{BitRate, SwitchId};
use serde_json::{Value, json};

use crate::{
    config::{Config, parse_role},
    core::network::{BridgeFacts, OPENFLOW_NAME, PortFacts, PortRole, openflow_name},
};

/// `external_ids` of table Port: the capacity in frame bit/s, a whole number.
pub(super) const CAPACITY_KEY: &str = "payflow-capacity-bps";

/// `external_ids` of table Port: `edge`, `trunk` or `api`.
pub(super) const ROLE_KEY: &str = "payflow-role";

/// A row's `_uuid`.
pub(super) type Uuid = String;

/// A column that maps text to text.
pub(super) type Texts = BTreeMap<String, String>;

/// The copy.
#[derive(Debug, Default)]
pub(super) struct Replica {
    pub(super) bridges: BTreeMap<Uuid, Bridge>,
    pub(super) ports: BTreeMap<Uuid, Port>,
    pub(super) interfaces: BTreeMap<Uuid, Interface>,
    pub(super) qos: BTreeMap<Uuid, Qos>,
    pub(super) queues: BTreeMap<Uuid, Queue>,
}

#[derive(Debug)]
pub(super) struct Bridge {
    /// Empty until ovs-vswitchd has made the bridge.
    pub(super) switch: Option<SwitchId>,
    pub(super) ports: Vec<Uuid>,
    name: String,
    /// Without a controller it keeps its entries, and does nothing of its own.
    is_secure: bool,
    /// Its datapath id stays when it is made again.
    is_named: bool,
}

#[derive(Debug)]
pub(super) struct Port {
    pub(super) name: String,
    pub(super) interfaces: Vec<Uuid>,
    pub(super) external_ids: Texts,
    pub(super) qos: Option<Uuid>,
}

#[derive(Debug)]
pub(super) struct Interface {
    name: String,
    kind: String,
    driver: Option<String>,
    link_speed: Option<u64>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Qos {
    pub(super) kind: String,
    pub(super) other_config: Texts,
    pub(super) external_ids: Texts,
    pub(super) queues: BTreeMap<u64, Uuid>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Queue {
    pub(super) other_config: Texts,
    pub(super) external_ids: Texts,
}

impl Replica {
    /// The `monitor` request that keeps this copy up (RFC 7047 section 4.1.5).
    pub(super) fn monitor_request() -> Value {
        let columns = |columns: &[&str]| json!({ "columns": columns });
        json!({
            "Bridge": columns(&["datapath_id", "ports", "name", "fail_mode", "other_config"]),
            "Port": columns(&["name", "interfaces", "external_ids", "qos"]),
            "Interface": columns(&["name", "link_speed", "type", "status"]),
            "QoS": columns(&["type", "other_config", "external_ids", "queues"]),
            "Queue": columns(&["other_config", "external_ids"]),
        })
    }

    /// Takes in a `table-updates` object (RFC 7047 section 4.1.6): a row without `new` is gone.
    pub(super) fn apply(&mut self, updates: &Value) -> Result<(), String> {
        for (table, rows) in updates.as_object().ok_or("table updates are no object")? {
            for (uuid, update) in rows.as_object().ok_or("row updates are no object")? {
                let row = update.get("new").filter(|row| !row.is_null());
                match table.as_str() {
                    "Bridge" => put(&mut self.bridges, uuid, row, Bridge::read),
                    "Port" => put(&mut self.ports, uuid, row, Port::read),
                    "Interface" => put(&mut self.interfaces, uuid, row, Interface::read),
                    "QoS" => put(&mut self.qos, uuid, row, Qos::read),
                    "Queue" => put(&mut self.queues, uuid, row, Queue::read),
                    _ => Ok(()),
                }
                .map_err(|reason| format!("table {table}, row {uuid}: {reason}"))?;
            }
        }
        Ok(())
    }

    /// Datapath ids are not stored: they are gone when the server restarts, until ovs-vswitchd has written
    /// them again. A bridge that was seen keeps the one it had.
    pub(super) fn remember(&mut self, seen: &mut BTreeMap<Uuid, SwitchId>) {
        for (uuid, bridge) in &mut self.bridges {
            match bridge.switch {
                Some(switch) => drop(seen.insert(uuid.clone(), switch)),
                None => bridge.switch = seen.get(uuid).copied(),
            }
        }
    }

    /// The switches in this database.
    pub(super) fn switches(&self) -> BTreeSet<SwitchId> {
        self.bridges
            .values()
            .filter_map(|bridge| bridge.switch)
            .collect()
    }

    /// A port by switch and name in OpenFlow; none where several have one name there, or the port has several.
    pub(super) fn port(&self, switch: SwitchId, name: &str) -> Option<(&Uuid, &Port)> {
        let mut found = self
            .ports_of_switches()
            .filter(|(of, _, port)| *of == switch && self.names(port).any(|it| it == name))
            .map(|(_, uuid, port)| (uuid, port));
        let only = found.next().filter(|(_, port)| port.interfaces.len() == 1);
        only.filter(|_| found.next().is_none())
    }

    /// What OpenFlow calls a port: by its interfaces, of which a bond has several.
    fn names<'r>(&'r self, port: &'r Port) -> impl Iterator<Item = &'r str> {
        let interfaces = port.interfaces.iter();
        let interfaces = interfaces.filter_map(|uuid| self.interfaces.get(uuid));
        interfaces.map(|interface| openflow_name(&interface.name))
    }

    /// What is known of every port: the configuration goes before `external_ids`, and those before the
    /// speed of a physical link, which counts only where the operator trusts it.
    pub(super) fn facts(&self, config: &Config) -> BTreeMap<(SwitchId, String), PortFacts> {
        let mut facts = BTreeMap::<_, PortFacts>::new();
        for (switch, _, port) in self.ports_of_switches() {
            let said = |key| port.external_ids.get(key).map(String::as_str);
            for name in self.names(port) {
                // As OpenFlow has it, or the database.
                let named = |name| config.port(switch, name);
                let configured = named(name).or_else(|| named(&port.name));
                let capacity = configured
                    .and_then(|port| port.capacity)
                    .or_else(|| said(CAPACITY_KEY)?.parse().ok().map(BitRate))
                    .or_else(|| {
                        self.link_speed(port)
                            .filter(|_| config.ovsdb.trust_link_speed)
                    })
                    .filter(|capacity| capacity.bps() > 0);
                let role = configured
                    .and_then(|port| port.role)
                    .or_else(|| parse_role(said(ROLE_KEY)?));
                let this = PortFacts {
                    switch,
                    port_name: name.to_owned(),
                    capacity: capacity.filter(|_| port.interfaces.len() == 1),
                    role: role.unwrap_or(PortRole::Unsaid),
                };
                facts
                    .entry((switch, name.to_owned()))
                    .and_modify(|other| {
                        // Which of them a switch means is not known: nothing is sold, and no host is let in at a trunk.
                        other.capacity = None;
                        if this.role == PortRole::Trunk {
                            other.role = PortRole::Trunk;
                        }
                    })
                    .or_insert(this);
            }
        }
        facts
    }

    /// How each bridge is configured. Of two that claim one datapath id, the worse counts.
    pub(super) fn bridge_facts(&self) -> BTreeMap<SwitchId, BridgeFacts> {
        let mut facts = BTreeMap::<SwitchId, BridgeFacts>::new();
        for bridge in self.bridges.values() {
            let Some(switch) = bridge.switch else {
                continue;
            };
            let known = facts.entry(switch).or_insert_with(|| BridgeFacts {
                name: bridge.name.clone(),
                secure: true,
                fixed_datapath_id: true,
            });
            if !bridge.is_secure && known.secure {
                known.name.clone_from(&bridge.name);
            }
            known.secure &= bridge.is_secure;
            known.fixed_datapath_id &= bridge.is_named;
        }
        facts
    }

    /// What the operator should mend, for the log: `external_ids` of ours that say nothing we understand.
    pub(super) fn complaints(&self) -> BTreeSet<String> {
        let mut told = BTreeSet::new();
        let mut named = BTreeMap::new();
        for (switch, uuid, port) in self.ports_of_switches() {
            if port.interfaces.len() > 1 && port.external_ids.contains_key(CAPACITY_KEY) {
                told.insert(format!(
                    "port {} is a bond: nothing is sold at its interfaces, whatever its {CAPACITY_KEY}",
                    port.name
                ));
            }
            for name in self.names(port) {
                let other = named.insert((switch, name.to_owned()), (uuid, port));
                if let Some((_, other)) = other.filter(|(other, _)| *other != uuid) {
                    told.insert(format!(
                        "ports {} and {} are both {name} in OpenFlow, which has no more than {OPENFLOW_NAME} bytes for a \
                         name: nothing is sold there until one has another name",
                        other.name, port.name
                    ));
                }
            }
        }
        for port in self.ports.values() {
            let wrong = |key: &str, right: fn(&str) -> bool| {
                port.external_ids.get(key).filter(|text| !right(text))
            };
            if let Some(text) = wrong(CAPACITY_KEY, |text| {
                text.parse::<u64>().is_ok_and(|bps| bps > 0)
            }) {
                told.insert(format!(
                    "port {}: {CAPACITY_KEY}={text:?} is not a whole number of bit/s above 0",
                    port.name
                ));
            }
            if let Some(text) = wrong(ROLE_KEY, |text| parse_role(text).is_some()) {
                told.insert(format!(
                    "port {}: {ROLE_KEY}={text:?} is not edge, trunk or api",
                    port.name
                ));
            }
        }
        told
    }

    fn ports_of_switches(&self) -> impl Iterator<Item = (SwitchId, &Uuid, &Port)> {
        let bridges = self
            .bridges
            .values()
            .filter_map(|bridge| Some((bridge.switch?, bridge)));
        bridges.flat_map(move |(switch, bridge)| {
            bridge
                .ports
                .iter()
                .filter_map(move |uuid| Some((switch, uuid, self.ports.get(uuid)?)))
        })
    }

    /// The speed a physical link has negotiated; a virtual one (`veth`) shows a number without meaning.
    fn link_speed(&self, port: &Port) -> Option<BitRate> {
        let [interface] = port.interfaces.as_slice() else {
            return None;
        };
        let interface = self.interfaces.get(interface)?;
        let physical = interface.kind.is_empty()
            && interface
                .driver
                .as_deref()
                .is_some_and(|driver| driver != "veth");
        interface.link_speed.filter(|_| physical).map(BitRate)
    }
}

fn put<T>(
    rows: &mut BTreeMap<Uuid, T>,
    uuid: &str,
    row: Option<&Value>,
    read: fn(&Value) -> Result<T, String>,
) -> Result<(), String> {
    match row {
        Some(row) => rows.insert(uuid.to_owned(), read(row)?),
        None => rows.remove(uuid),
    };
    Ok(())
}

impl Bridge {
    fn read(row: &Value) -> Result<Self, String> {
        let switch = texts(row, "datapath_id")?
            .first()
            .and_then(|text| text.parse().ok());
        let fail_mode = texts(row, "fail_mode")?;
        Ok(Self {
            switch,
            ports: uuids(row, "ports")?,
            name: text(row, "name")?,
            is_secure: fail_mode == ["secure"],
            is_named: text_map(row, "other_config")?.contains_key("datapath-id"),
        })
    }
}

impl Port {
    fn read(row: &Value) -> Result<Self, String> {
        Ok(Self {
            name: text(row, "name")?,
            interfaces: uuids(row, "interfaces")?,
            external_ids: text_map(row, "external_ids")?,
            qos: uuids(row, "qos")?.into_iter().next(),
        })
    }
}

impl Interface {
    fn read(row: &Value) -> Result<Self, String> {
        let link_speed = set(row, "link_speed")?
            .first()
            .and_then(|speed| speed.as_u64());
        let driver = text_map(row, "status")?.remove("driver_name");
        Ok(Self {
            name: text(row, "name")?,
            kind: text(row, "type")?,
            driver,
            link_speed,
        })
    }
}

impl Qos {
    fn read(row: &Value) -> Result<Self, String> {
        let queues = map(row, "queues")?
            .into_iter()
            .map(|(number, queue)| Some((number.as_u64()?, uuid(queue)?)));
        Ok(Self {
            kind: text(row, "type")?,
            other_config: text_map(row, "other_config")?,
            external_ids: text_map(row, "external_ids")?,
            queues: queues
                .collect::<Option<_>>()
                .ok_or("queues do not map numbers to rows")?,
        })
    }
}

impl Queue {
    fn read(row: &Value) -> Result<Self, String> {
        Ok(Self {
            other_config: text_map(row, "other_config")?,
            external_ids: text_map(row, "external_ids")?,
        })
    }
}

fn column<'r>(row: &'r Value, name: &str) -> Result<&'r Value, String> {
    row.get(name)
        .ok_or_else(|| format!("column {name} is missing"))
}

/// A set is written as `["set", [...]]`, a set of one as the atom alone (RFC 7047 section 5.1).
fn set<'r>(row: &'r Value, name: &str) -> Result<Vec<&'r Value>, String> {
    let value = column(row, name)?;
    match value.as_array().map(Vec::as_slice) {
        Some([tag, items]) if tag == "set" => Ok(items.as_array().into_iter().flatten().collect()),
        _ => Ok(vec![value]),
    }
}

/// A map is written as `["map", [[key, value], ...]]` (RFC 7047 section 5.1).
fn map<'r>(row: &'r Value, name: &str) -> Result<Vec<(&'r Value, &'r Value)>, String> {
    let pairs = match column(row, name)?.as_array().map(Vec::as_slice) {
        Some([tag, pairs]) if tag == "map" => pairs.as_array(),
        _ => None,
    };
    let pairs = pairs
        .ok_or_else(|| format!("column {name} is no map"))?
        .iter()
        .map(|pair| match pair.as_array()?.as_slice() {
            [key, value] => Some((key, value)),
            _ => None,
        });
    pairs
        .collect::<Option<_>>()
        .ok_or_else(|| format!("column {name} is no map"))
}

fn text(row: &Value, name: &str) -> Result<String, String> {
    column(row, name)?
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| format!("column {name} is no text"))
}

fn texts(row: &Value, name: &str) -> Result<Vec<String>, String> {
    let texts = set(row, name)?
        .into_iter()
        .map(|item| item.as_str().map(str::to_owned));
    texts
        .collect::<Option<_>>()
        .ok_or_else(|| format!("column {name} holds more than text"))
}

fn text_map(row: &Value, name: &str) -> Result<Texts, String> {
    let pairs = map(row, name)?
        .into_iter()
        .map(|(key, value)| Some((key.as_str()?.to_owned(), value.as_str()?.to_owned())));
    pairs
        .collect::<Option<_>>()
        .ok_or_else(|| format!("column {name} does not map text to text"))
}

/// `["uuid", "..."]`.
fn uuid(value: &Value) -> Option<Uuid> {
    match value.as_array()?.as_slice() {
        [tag, uuid] if tag == "uuid" => uuid.as_str().map(str::to_owned),
        _ => None,
    }
}

fn uuids(row: &Value, name: &str) -> Result<Vec<Uuid>, String> {
    let uuids = set(row, name)?.into_iter().map(uuid);
    uuids
        .collect::<Option<_>>()
        .ok_or_else(|| format!("column {name} holds more than rows"))
}
