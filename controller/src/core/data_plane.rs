//! What the desk asks of a data plane. OpenFlow ([`Network`]) is one; another SDN platform is
//! another implementation of this trait.

use std::net::IpAddr;

use payflow_qos::{BitRate, PortRef, Time, Topology};

use super::network::{
    FlowCounters, FlowId, FlowPlan, Host, Network, NetworkInput, NetworkOutput, SwitchView,
};

/// Carries paid flows, and knows hosts and links. Deterministic: no clock, no IO.
pub trait DataPlane: Send {
    /// Feeds one event.
    fn handle(&mut self, input: NetworkInput, now: Time);
    /// The next thing it wants done, in order.
    fn poll(&mut self) -> Option<NetworkOutput>;
    /// When [`NetworkInput::DeadlineReached`] is due.
    fn next_deadline(&self) -> Option<Time>;
    /// Switches that are up, proven links, capacities.
    fn topology(&self) -> &Topology;
    /// The host at an address, as it was learned.
    fn host(&self, address: IpAddr) -> Option<Host>;
    /// Every host, by address.
    fn hosts(&self) -> Vec<Host>;
    /// The name of a port: what stays when its number changes. Where ports have none, they are not followed.
    fn port_name(&self, _port: PortRef) -> Option<String> {
        None
    }
    /// What the first switch has counted of a paid flow, as of the last audit; `None` where nobody counts.
    fn counters(&self, _flow: FlowId) -> Option<FlowCounters> {
        None
    }
    /// What a directed link has carried of late, frame bits per second, some seconds ago at most; `None` where nobody counts.
    fn load(&self, _port: PortRef) -> Option<BitRate> {
        None
    }
    /// Every switch, by datapath id.
    fn switches(&self) -> Vec<SwitchView>;
    /// Installs a paid flow: every switch but the first, then the first.
    fn install(&mut self, plan: FlowPlan, now: Time);
    /// Takes over a flow that was installed before a restart; only differences are mended. A flow that was suspended is
    /// reported as restored once its path is whole.
    fn adopt(&mut self, plan: FlowPlan, suspended: bool, now: Time);
    /// After a restart: an ended flow may still be on switches. Wants nothing of it, and tells when it is on none, as
    /// [`Self::remove`] does.
    fn recall(&mut self, plan: FlowPlan, now: Time);
    /// Says when the service ends, once that is known.
    fn set_end(&mut self, flow: FlowId, ends: Time, now: Time);
    /// Removes a paid flow: the first switch, a queue drain, the others.
    fn remove(&mut self, flow: FlowId, now: Time);
}

impl DataPlane for Network {
    fn handle(&mut self, input: NetworkInput, now: Time) {
        self.handle(input, now);
    }

    fn poll(&mut self) -> Option<NetworkOutput> {
        self.poll()
    }

    fn next_deadline(&self) -> Option<Time> {
        self.next_deadline()
    }

    fn topology(&self) -> &Topology {
        self.topology()
    }

    fn host(&self, address: IpAddr) -> Option<Host> {
        self.host(address).cloned()
    }

    fn hosts(&self) -> Vec<Host> {
        self.hosts().cloned().collect()
    }

    fn port_name(&self, port: PortRef) -> Option<String> {
        self.port_name(port).map(ToOwned::to_owned)
    }

    fn counters(&self, flow: FlowId) -> Option<FlowCounters> {
        self.flow_counters(flow)
    }

    fn load(&self, port: PortRef) -> Option<BitRate> {
        self.load(port)
    }

    fn switches(&self) -> Vec<SwitchView> {
        self.switches()
    }

    fn install(&mut self, plan: FlowPlan, now: Time) {
        self.install(plan, now);
    }

    fn adopt(&mut self, plan: FlowPlan, suspended: bool, now: Time) {
        self.adopt(plan, suspended, now);
    }

    fn recall(&mut self, plan: FlowPlan, now: Time) {
        self.recall(plan, now);
    }

    fn set_end(&mut self, flow: FlowId, ends: Time, now: Time) {
        self.set_end(flow, ends, now);
    }

    fn remove(&mut self, flow: FlowId, now: Time) {
        self.remove(flow, now);
    }
}
