//! The switches' databases (OVSDB, RFC 7047): what they say of ports, and the class queues of ports.
//!
//! One task per server. It keeps a copy of the rows that matter, reports what changes of ports, and
//! carries out orders for class queues, as many as are waiting in one transaction.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use payflow_qos::{BitRate, SwitchId};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time,
};
use tracing::{debug, info, warn};

use self::{
    classes::ClassOrder,
    connection::{Connection, OvsdbError},
    replica::{Replica, Uuid},
};
use super::{event_loop::Event, pem::TlsError};
use crate::{
    config::{Config, OvsdbEndpoint, OvsdbTls},
    core::network::{BridgeFacts, NetworkInput, PortFacts},
};

mod classes;
mod connection;
mod replica;
#[cfg(test)]
mod tests;
mod tls;

const DATABASE: &str = "Open_vSwitch";

/// Orders that may wait for one server; above that they are refused and ordered again later.
const QUEUE: usize = 4_096;

/// Most ports in one transaction: some 0.1 s for the server.
const BATCH: usize = 256;

/// How long the start waits for what the databases say. A switch that connects before is not harmed;
/// its ports are just not sellable at once.
const FIRST_COPY_LIMIT: Duration = Duration::from_secs(3);

/// Between attempts to connect: doubles from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A server that says nothing for this long is asked whether it is there.
const SILENCE_LIMIT: Duration = Duration::from_secs(20);

/// Takes orders for class queues. Dropping it stops the work; the queues stay.
#[derive(Debug)]
pub(super) struct ClassOrders {
    servers: Vec<mpsc::Sender<ClassOrder>>,
    homes: Homes,
    _tasks: JoinSet<()>,
}

/// In which server's database a switch is.
type Homes = Arc<Mutex<BTreeMap<SwitchId, usize>>>;

impl ClassOrders {
    /// Starts a task per server; returns when each has told what it knows, or has failed to, or is slow.
    pub(super) async fn start(config: &Arc<Config>, events: &mpsc::Sender<Event>) -> Self {
        let mut orders = Self {
            servers: Vec::new(),
            homes: Homes::default(),
            _tasks: JoinSet::new(),
        };
        let mut first_copies = Vec::new();
        for (index, endpoint) in config.ovsdb.endpoints.iter().enumerate() {
            let (sender, queue) = mpsc::channel(QUEUE);
            let (ready, first_copy) = oneshot::channel();
            let server = Server {
                endpoint: endpoint.clone(),
                index,
                config: config.clone(),
                homes: orders.homes.clone(),
                events: events.clone(),
                told_bridges: BTreeMap::new(),
                told: BTreeMap::new(),
                made: BTreeMap::new(),
                seen: BTreeMap::new(),
                warned: BTreeSet::new(),
                ready: Some(ready),
            };
            orders._tasks.spawn(server.run(queue));
            orders.servers.push(sender);
            first_copies.push(first_copy);
        }
        if time::timeout(FIRST_COPY_LIMIT, futures::future::join_all(first_copies))
            .await
            .is_err()
        {
            warn!("an OVSDB server is slow; its ports are not sellable yet");
        }
        orders
    }

    /// Orders the class queues of a port; answered by [`NetworkInput::ClassesMade`]. What cannot be ordered
    /// comes back with the reason.
    pub(super) fn order(
        &self,
        switch: SwitchId,
        port_name: String,
        capacity: BitRate,
    ) -> Result<(), (SwitchId, String, String)> {
        let home = self.homes.lock().get(&switch).copied();
        let Some(server) = home.and_then(|index| self.servers.get(index)) else {
            return Err((
                switch,
                port_name,
                format!("no OVSDB server of ovsdb.endpoints knows switch {switch}"),
            ));
        };
        server
            .try_send(ClassOrder {
                switch,
                port_name,
                capacity,
            })
            .map_err(|refused| {
                let order = refused.into_inner();
                (
                    order.switch,
                    order.port_name,
                    "too many orders are waiting for the OVSDB server".to_owned(),
                )
            })
    }
}

/// One OVSDB server, connected or not.
struct Server {
    endpoint: OvsdbEndpoint,
    index: usize,
    config: Arc<Config>,
    homes: Homes,
    events: mpsc::Sender<Event>,
    /// The newest facts of each bridge.
    told_bridges: BTreeMap<SwitchId, BridgeFacts>,
    /// The newest facts of each port.
    told: BTreeMap<(SwitchId, String), PortFacts>,
    /// Orders that were carried out: their queues are looked after.
    made: BTreeMap<(SwitchId, String), ClassOrder>,
    /// The datapath id of each bridge that was seen.
    seen: BTreeMap<Uuid, SwitchId>,
    warned: BTreeSet<String>,
    /// Dropped once the first copy has been told, or cannot be had.
    ready: Option<oneshot::Sender<()>>,
}

/// Why a session with a server ended.
enum SessionEnd {
    Failed(OvsdbError),
    /// The controller is stopping.
    Stopping,
}

impl From<OvsdbError> for SessionEnd {
    fn from(error: OvsdbError) -> Self {
        Self::Failed(error)
    }
}

impl Server {
    async fn run(mut self, mut queue: mpsc::Receiver<ClassOrder>) {
        let mut pause = FIRST_PAUSE;
        let mut quiet = false;
        loop {
            let since = time::Instant::now();
            let Err(end) = self.session(&mut queue).await;
            let SessionEnd::Failed(error) = end else {
                return;
            };
            if since.elapsed() > LONGEST_PAUSE {
                (pause, quiet) = (FIRST_PAUSE, false);
            }
            // Once per outage: a laboratory without Open vSwitch should not fill its log.
            if quiet {
                debug!(endpoint = %self.endpoint, %error, "OVSDB is still away");
            } else {
                warn!(endpoint = %self.endpoint, %error, "OVSDB is away; class queues cannot be made until it is back");
            }
            (quiet, self.ready) = (true, None);
            let until = time::Instant::now() + pause;
            while let Ok(order) = time::timeout_at(until, queue.recv()).await {
                let Some(order) = order else { return };
                if self
                    .answer(
                        order,
                        Err(format!("OVSDB {} is away: {error}", self.endpoint)),
                    )
                    .await
                    .is_err()
                {
                    return;
                }
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn session(
        &mut self,
        queue: &mut mpsc::Receiver<ClassOrder>,
    ) -> Result<std::convert::Infallible, SessionEnd> {
        let (mut connection, mut replica) =
            connect(&self.endpoint, self.config.ovsdb.tls.as_ref()).await?;
        info!(endpoint = %self.endpoint, switches = replica.switches().len(), "connected to OVSDB");
        let mut orders = Vec::new();
        loop {
            self.tell(&mut replica).await?;
            self.ready = None;
            if self.tidy(&mut connection, &mut replica).await? {
                // What came in meanwhile is told as well.
                self.tell(&mut replica).await?;
            }
            tokio::select! {
                update = connection.update() => {
                    take_in(&mut replica, &update?)?;
                    take_in_waiting(&mut connection, &mut replica)?;
                }
                count = queue.recv_many(&mut orders, BATCH) => {
                    if count == 0 {
                        return Err(SessionEnd::Stopping);
                    }
                    self.make_classes(&mut connection, &mut replica, &mut orders).await?;
                }
                () = time::sleep(SILENCE_LIMIT) => {
                    connection.call("echo", json!([])).await?;
                }
            }
        }
    }

    /// Reports what has changed of bridges and ports, and where switches are at home.
    async fn tell(&mut self, replica: &mut Replica) -> Result<(), SessionEnd> {
        replica.remember(&mut self.seen);
        {
            let mut homes = self.homes.lock();
            homes.retain(|_, home| *home != self.index);
            homes.extend(
                replica
                    .switches()
                    .into_iter()
                    .map(|switch| (switch, self.index)),
            );
        }
        for problem in replica.complaints() {
            if !self.warned.contains(&problem) {
                warn!(endpoint = %self.endpoint, "{problem}");
                self.warned.insert(problem);
            }
        }
        // Before its ports, so that nothing is offered that should not be.
        let bridges = replica.bridge_facts();
        let gone = self
            .told_bridges
            .keys()
            .filter(|switch| !bridges.contains_key(switch))
            .map(|switch| (*switch, None));
        let changed = bridges
            .iter()
            .filter(|(switch, facts)| self.told_bridges.get(switch) != Some(facts))
            .map(|(switch, facts)| (*switch, Some(facts.clone())));
        for (switch, facts) in gone.chain(changed) {
            self.send(NetworkInput::Bridge { switch, facts }).await?;
        }
        self.told_bridges = bridges;
        let facts = replica.facts(&self.config);
        let gone = self
            .told
            .keys()
            .filter(|port| !facts.contains_key(*port))
            .map(|(switch, name)| {
                // What the configuration says of a port does not go with its row.
                let configured = self.config.port(*switch, name).map(|port| port.facts());
                let nothing = PortFacts {
                    switch: *switch,
                    port_name: name.clone(),
                    capacity: None,
                    role: Default::default(),
                };
                configured.unwrap_or(nothing)
            });
        let changed = facts
            .iter()
            .filter(|(port, facts)| self.told.get(*port) != Some(facts))
            .map(|(_, facts)| facts.clone());
        for facts in gone.chain(changed) {
            self.send(NetworkInput::Port(facts)).await?;
        }
        self.told = facts;
        let is_lost = |order: &ClassOrder| !classes::are_made(replica, order);
        let lost: Vec<_> = self
            .made
            .extract_if(.., |_, order| is_lost(order))
            .collect();
        for ((switch, port_name), _) in lost {
            self.send(NetworkInput::ClassesLost { switch, port_name })
                .await?;
        }
        Ok(())
    }

    /// Deletes our rows that no port uses any more, as when a port is gone. Whether there were any.
    async fn tidy(
        &self,
        connection: &mut Connection,
        replica: &mut Replica,
    ) -> Result<bool, SessionEnd> {
        let (operations, _) = classes::plan(replica, &[]);
        if operations.is_empty() {
            return Ok(false);
        }
        match write(connection, replica, operations).await {
            Ok(()) => Ok(true),
            Err(error @ OvsdbError::Refused { .. }) => {
                // Somebody else uses them, or was quicker.
                debug!(endpoint = %self.endpoint, %error, "rows that are of no use stay");
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Carries out orders, all in one transaction; one by one when that is refused, so that one port's
    /// trouble is not another's.
    async fn make_classes(
        &mut self,
        connection: &mut Connection,
        replica: &mut Replica,
        orders: &mut Vec<ClassOrder>,
    ) -> Result<(), SessionEnd> {
        // The newest order for a port counts; every one is answered.
        let newest: BTreeMap<_, _> = orders
            .iter()
            .map(|order| (order.port(), order.clone()))
            .collect();
        for order in newest.values() {
            if classes::replaces_another(replica, order) {
                warn!(
                    switch = %order.switch,
                    port = order.port_name,
                    "the port has a QoS of somebody else; the class queues take its place"
                );
            }
        }
        let mut results = BTreeMap::new();
        match write_classes(
            connection,
            replica,
            &newest.values().cloned().collect::<Vec<_>>(),
        )
        .await
        {
            Ok(unknown) => results.extend(unknown),
            Err(OvsdbError::Refused { .. }) => {
                for (port, order) in &newest {
                    match write_classes(connection, replica, std::slice::from_ref(order)).await {
                        Ok(unknown) => results.extend(unknown),
                        Err(error @ OvsdbError::Refused { .. }) => {
                            drop(results.insert(port.clone(), error.to_string()))
                        }
                        Err(error) => return self.give_up(orders, error).await,
                    }
                }
            }
            Err(error) => return self.give_up(orders, error).await,
        }
        for order in orders.drain(..) {
            let result = results.get(&order.port()).cloned().map_or(Ok(()), Err);
            if let (Ok(()), Some(order)) = (&result, newest.get(&order.port())) {
                self.made.insert(order.port(), order.clone());
            }
            self.answer(order, result).await?;
        }
        Ok(())
    }

    /// The connection failed in the middle: whether the rows are there is not known, and looked at next time.
    async fn give_up(
        &self,
        orders: &mut Vec<ClassOrder>,
        error: OvsdbError,
    ) -> Result<(), SessionEnd> {
        for order in orders.drain(..) {
            self.answer(order, Err(error.to_string())).await?;
        }
        Err(error.into())
    }

    async fn answer(
        &self,
        order: ClassOrder,
        result: Result<(), String>,
    ) -> Result<(), SessionEnd> {
        let ClassOrder {
            switch, port_name, ..
        } = order;
        self.send(NetworkInput::ClassesMade {
            switch,
            port_name,
            result,
        })
        .await
    }

    async fn send(&self, input: NetworkInput) -> Result<(), SessionEnd> {
        self.events
            .send(Event::network(input))
            .await
            .map_err(|_| SessionEnd::Stopping)
    }
}

/// A connection, and a first copy of the rows that matter; updates of it follow.
async fn connect(
    endpoint: &OvsdbEndpoint,
    tls: Option<&OvsdbTls>,
) -> Result<(Connection, Replica), OvsdbError> {
    let mut connection = Connection::open(endpoint, tls).await?;
    let mut replica = Replica::default();
    let monitor = json!([DATABASE, "payflow", Replica::monitor_request()]);
    let initial = connection.call("monitor", monitor).await?;
    replica.apply(&initial).map_err(OvsdbError::Malformed)?;
    Ok((connection, replica))
}

/// Whether the files can be used.
pub(super) fn check_files(files: &OvsdbTls) -> Result<(), TlsError> {
    tls::connector(files).map(drop)
}

/// Takes the class queues off every port of a server, and deletes their rows; the rows of others stay. How many ports had
/// some. For a controller that will not come back: flows that are still paid for lose what they are guaranteed.
///
/// # Errors
/// Why the server could not be reached, or refused; nothing is changed then, or when it was not heard, perhaps all.
pub(super) async fn remove_classes(
    endpoint: &OvsdbEndpoint,
    tls: Option<&OvsdbTls>,
) -> Result<usize, OvsdbError> {
    let (mut connection, replica) = connect(endpoint, tls).await?;
    let (operations, ports) = classes::plan_removal(&replica);
    if !operations.is_empty() {
        transact(&mut connection, operations).await?;
    }
    Ok(ports)
}

/// Writes what is missing; the ports that are not in the database, with the reason.
async fn write_classes(
    connection: &mut Connection,
    replica: &mut Replica,
    orders: &[ClassOrder],
) -> Result<BTreeMap<(SwitchId, String), String>, OvsdbError> {
    // Whatever was changed before this is answered has come in then: an order is not carried out by an old copy.
    connection.call("echo", json!([])).await?;
    take_in_waiting(connection, replica)?;
    let (operations, unknown) = classes::plan(replica, orders);
    let unknown = unknown
        .into_iter()
        .map(|(order, reason)| (order.port(), reason))
        .collect();
    if !operations.is_empty() {
        write(connection, replica, operations).await?;
    }
    Ok(unknown)
}

/// All of these operations, or none; the copy has what came of them.
async fn write(
    connection: &mut Connection,
    replica: &mut Replica,
    operations: Vec<Value>,
) -> Result<(), OvsdbError> {
    debug!(operations = operations.len(), "writing class queues");
    let done = transact(connection, operations).await;
    // The server sends the update before the answer, so the copy is right for the next plan.
    take_in_waiting(connection, replica)?;
    done
}

/// All of these operations, or none.
async fn transact(connection: &mut Connection, operations: Vec<Value>) -> Result<(), OvsdbError> {
    let mut params = vec![json!(DATABASE)];
    params.extend(operations);
    let results = connection.call("transact", Value::Array(params)).await?;
    let failed = results
        .as_array()
        .into_iter()
        .flatten()
        .find(|result| result.get("error").is_some_and(|error| !error.is_null()));
    match failed {
        None => Ok(()),
        Some(error) => Err(OvsdbError::Refused {
            method: "transact".to_owned(),
            error: error.clone(),
        }),
    }
}

fn take_in_waiting(connection: &mut Connection, replica: &mut Replica) -> Result<(), OvsdbError> {
    while let Some(update) = connection.waiting_update() {
        take_in(replica, &update)?;
    }
    Ok(())
}

/// Parameters of an `update` notification: our name of the monitor, and the table updates.
fn take_in(replica: &mut Replica, update: &Value) -> Result<(), OvsdbError> {
    match update.as_array().map(Vec::as_slice) {
        Some([name, updates]) if name == "payflow" => {
            replica.apply(updates).map_err(OvsdbError::Malformed)
        }
        _ => Err(OvsdbError::Malformed(
            "an update of something that is not monitored".to_owned(),
        )),
    }
}
