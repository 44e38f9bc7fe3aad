//! The four class queues of a port, as rows of the tables QoS and Queue.
//!
//! Every write to the database makes ovs-vswitchd look at all of its configuration, which stalls
//! forwarding for milliseconds: nothing is written where the rows are right already, and whatever is to be
//! written goes in one transaction.

use std::collections::BTreeSet;

use payflow_qos::{BitRate, Class, ClassPlan, SwitchId, class::ClassShare};
use serde_json::{Value, json};

use super::replica::{Port, Qos, Queue, Replica, Texts, Uuid};

/// `external_ids` of our rows. QoS and Queue rows are never collected by the server itself, and without a mark
/// nobody could tell whose they are.
pub(super) const OWNER_KEY: &str = "payflow-owner";
const OWNER: &str = "payflow";

/// How long a class may send above its guarantee, or its ceiling, after it was idle: enough for the shaper's
/// own granularity. It is no buffer.
const BURST_MS: u64 = 5;

/// The least burst: two maximal frames, in bits.
const MIN_BURST_BITS: u64 = 2 * 1_518 * 8;

/// A port that is to have its class queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClassOrder {
    pub(super) switch: SwitchId,
    pub(super) port_name: String,
    pub(super) capacity: BitRate,
}

impl ClassOrder {
    /// For which port: its switch and name.
    pub(super) fn port(&self) -> (SwitchId, String) {
        (self.switch, self.port_name.clone())
    }
}

/// The operations of one transaction (RFC 7047 section 5.2) that make the queues of these ports and delete those of
/// our rows that nothing uses any more. Empty when all is as it should be. The ports that are not in the
/// database are told with a reason. No port may be ordered twice.
pub(super) fn plan<'o>(
    replica: &Replica,
    orders: &'o [ClassOrder],
) -> (Vec<Value>, Vec<(&'o ClassOrder, String)>) {
    let mut operations = Vec::new();
    let mut unknown = Vec::new();
    let mut replaced = BTreeSet::new();
    for (number, order) in orders.iter().enumerate() {
        let Some((uuid, port)) = replica.port(order.switch, &order.port_name) else {
            let reason = format!(
                "port {} of switch {} is not in the database",
                order.port_name, order.switch
            );
            unknown.push((order, reason));
            continue;
        };
        let plan = ClassPlan::for_capacity(order.capacity);
        if !has_classes(replica, port, &plan) {
            replaced.insert(uuid);
            operations.extend(insert(number, uuid, &plan));
        }
    }
    operations.extend(collect_garbage(replica, &replaced));
    (operations, unknown)
}

/// Whether a port has somebody else's QoS, so that ours will take its place.
pub(super) fn replaces_another(replica: &Replica, order: &ClassOrder) -> bool {
    let port = replica.port(order.switch, &order.port_name);
    let qos = port.and_then(|(_, port)| replica.qos.get(port.qos.as_ref()?));
    qos.is_some_and(|qos| !ours(&qos.external_ids))
}

/// Whether a port has the class queues that were ordered, or is not there.
pub(super) fn are_made(replica: &Replica, order: &ClassOrder) -> bool {
    let port = replica.port(order.switch, &order.port_name);
    let plan = ClassPlan::for_capacity(order.capacity);
    port.is_none_or(|(_, port)| has_classes(replica, port, &plan))
}

/// Whether the port's rows are exactly these.
fn has_classes(replica: &Replica, port: &Port, plan: &ClassPlan) -> bool {
    let Some(qos) = port.qos.as_ref().and_then(|uuid| replica.qos.get(uuid)) else {
        return false;
    };
    let numbers: BTreeSet<_> = Class::ALL
        .iter()
        .map(|class| u64::from(class.queue()))
        .collect();
    let wanted = Qos {
        kind: "linux-htb".to_owned(),
        other_config: root_config(plan),
        external_ids: owner(),
        queues: qos.queues.clone(),
    };
    *qos == wanted
        && qos.queues.keys().copied().collect::<BTreeSet<_>>() == numbers
        && Class::ALL.iter().all(|class| {
            let queue = qos
                .queues
                .get(&u64::from(class.queue()))
                .and_then(|uuid| replica.queues.get(uuid));
            queue.is_some_and(|queue| {
                *queue
                    == Queue {
                        other_config: queue_config(plan.share(*class)),
                        external_ids: owner(),
                    }
            })
        })
}

fn insert(number: usize, port: &Uuid, plan: &ClassPlan) -> Vec<Value> {
    let queue_name = |class: Class| format!("queue_{number}_{}", class.queue());
    let qos_name = format!("qos_{number}");
    let mut operations: Vec<_> = Class::ALL
        .iter()
        .map(|class| {
            let row = json!({"other_config": as_map(&queue_config(plan.share(*class))), "external_ids": as_map(&owner())});
            json!({"op": "insert", "table": "Queue", "uuid-name": queue_name(*class), "row": row})
        })
        .collect();
    let queues: Vec<_> = Class::ALL
        .iter()
        .map(|class| json!([class.queue(), ["named-uuid", queue_name(*class)]]))
        .collect();
    let row = json!({
        "type": "linux-htb",
        "other_config": as_map(&root_config(plan)),
        "external_ids": as_map(&owner()),
        "queues": ["map", queues],
    });
    operations.push(json!({"op": "insert", "table": "QoS", "uuid-name": qos_name, "row": row}));
    operations.push(json!({
        "op": "update", "table": "Port", "where": by_uuid(port), "row": {"qos": ["named-uuid", qos_name]},
    }));
    operations
}

/// Deletes our rows that no port uses once the ports in `replaced` have new ones.
fn collect_garbage(replica: &Replica, replaced: &BTreeSet<&Uuid>) -> Vec<Value> {
    let kept = replica
        .ports
        .iter()
        .filter(|(uuid, _)| !replaced.contains(uuid));
    let used: BTreeSet<_> = kept.filter_map(|(_, port)| port.qos.as_ref()).collect();
    let gone: BTreeSet<_> = replica
        .qos
        .iter()
        .filter(|(uuid, qos)| ours(&qos.external_ids) && !used.contains(uuid))
        .map(|(uuid, _)| uuid)
        .collect();
    let left = replica.qos.iter().filter(|(uuid, _)| !gone.contains(uuid));
    let queues_used: BTreeSet<_> = left.flat_map(|(_, qos)| qos.queues.values()).collect();
    let queues = replica
        .queues
        .iter()
        .filter(|(uuid, queue)| ours(&queue.external_ids) && !queues_used.contains(uuid));
    let delete =
        |table: &str, uuid: &Uuid| json!({"op": "delete", "table": table, "where": by_uuid(uuid)});
    let delete_qos = gone.iter().map(|uuid| delete("QoS", uuid));
    delete_qos
        .chain(queues.map(|(uuid, _)| delete("Queue", uuid)))
        .collect()
}

/// The operations of one transaction that take our queues off every port and delete our rows; the rows of others stay.
/// How many ports lose theirs.
pub(super) fn plan_removal(replica: &Replica) -> (Vec<Value>, usize) {
    let is_ours = |uuid: &Uuid| {
        replica
            .qos
            .get(uuid)
            .is_some_and(|qos| ours(&qos.external_ids))
    };
    let ports: BTreeSet<_> = replica
        .ports
        .iter()
        .filter(|(_, port)| port.qos.as_ref().is_some_and(is_ours))
        .map(|(uuid, _)| uuid)
        .collect();
    let mut operations: Vec<_> = ports
        .iter()
        .map(|uuid| {
            json!({"op": "update", "table": "Port", "where": by_uuid(uuid), "row": {"qos": ["set", []]}})
        })
        .collect();
    operations.extend(collect_garbage(replica, &ports));
    (operations, ports.len())
}

fn ours(external_ids: &Texts) -> bool {
    external_ids
        .get(OWNER_KEY)
        .is_some_and(|value| value == OWNER)
}

fn root_config(plan: &ClassPlan) -> Texts {
    Texts::from([("max-rate".to_owned(), plan.capacity.bps().to_string())])
}

/// Rates in bit/s and the burst in bits, as whole numbers in text (ovs-vswitchd.conf.db(5), table Queue).
fn queue_config(share: &ClassShare) -> Texts {
    let burst = (share.guaranteed_bps / 1_000)
        .saturating_mul(BURST_MS)
        .max(MIN_BURST_BITS);
    let pairs = [
        ("min-rate", share.guaranteed_bps),
        ("max-rate", share.ceiling_bps),
        ("burst", burst),
        ("priority", u64::from(share.priority)),
    ];
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_string()))
        .collect()
}

fn owner() -> Texts {
    Texts::from([(OWNER_KEY.to_owned(), OWNER.to_owned())])
}

fn as_map(texts: &Texts) -> Value {
    json!([
        "map",
        texts
            .iter()
            .map(|(key, value)| [key, value])
            .collect::<Vec<_>>()
    ])
}

fn by_uuid(uuid: &Uuid) -> Value {
    json!([["_uuid", "==", ["uuid", uuid]]])
}
