"""Topologies for PayFlow, for use with Mininet: links that tell Open vSwitch their capacity, switches, and networks.

Every trunk and host link is a plain veth pair. Capacity is not enforced here: it is written into OVSDB, from where the
controller reads it and makes the queues that enforce it:

    Port external_ids:payflow-capacity-bps=<frame bits per second>   on every port
    Port external_ids:payflow-role=trunk                             on ports between switches
    Port external_ids:payflow-role=api                               on the port where the controller's API is reached

Addresses: host number n has 10.0.0.n/24 and MAC 02:00:00:00:00:n. OpenFlow ports of a switch: hosts from 1, the intruder
at 90, trunks from 101, the API at 200. Datapath ids are 1, 2, ... in the order of the switches.
"""
import re

from mininet.link import Link
from mininet.node import OVSSwitch
from mininet.topo import Topo
from mininet.util import errRun, quietRun

import wire

MBIT = 1_000_000
HOST_BPS = 1000 * MBIT
INTRUDER_PORT = 90
FIRST_TRUNK_PORT = 101
API_PORT = 200
API_HOST_NUMBER = 254
MAX_HOSTS = 200


def ip_of(number):
    return '10.0.0.%d' % number


def mac_of(number):
    return '02:00:00:00:00:%02x' % number


class CapacityLink(Link):
    """A veth pair that knows its capacity in frame bits per second, or in Mbit/s as `bw`, and its role ('trunk', 'host' or None).

    `delay`, `jitter`, `loss` and `max_queue_size` are those of Mininet's TCLink, and kept where the kernel has netem."""

    def __init__(self, node1, node2, capacity_bps=None, role=None, bw=None, delay=None, jitter=None, loss=None,
                 max_queue_size=None, **params):
        self.netem = wire.netem_words(delay, jitter, loss, max_queue_size)
        Link.__init__(self, node1, node2, **params)
        if capacity_bps is None and bw:
            capacity_bps = round(float(bw) * MBIT)
        for intf in (self.intf1, self.intf2):
            intf.payflow_capacity_bps = capacity_bps
            intf.payflow_role = role

    def makeIntfPair(self, intfname1, intfname2, addr1=None, addr2=None, node1=None, node2=None, deleteIntfs=True):
        if self.netem and node1 and node2 and wire.netem_works():
            wire.lay(node1, intfname1, addr1, node2, intfname2, addr2, self.netem)
            return None
        return Link.makeIntfPair(intfname1, intfname2, addr1, addr2, node1, node2, deleteIntfs)


class PayflowSwitch(OVSSwitch):
    """OpenFlow 1.3 only, secure, with what the controller wants to know about each port in OVSDB.

    The ports appear together with their external_ids, in one OVSDB transaction.
    """

    def __init__(self, name, **params):
        params.update(failMode='secure', protocols='OpenFlow13')
        OVSSwitch.__init__(self, name, **params)

    @classmethod
    def setup(cls):
        """As Mininet's, which gives the database one second, too little on a busy machine, and then ends the program."""
        out, err, status = errRun('ovs-vsctl -t 30 show')
        if status:
            raise RuntimeError('ovs-vsctl show: ' + out + err)
        cls.OVSVersion = re.findall(r'\d+\.\d+', quietRun('ovs-vsctl --version'))[0]

    def intfOpts(self, intf):
        options = OVSSwitch.intfOpts(self, intf)
        ids = []
        if getattr(intf, 'payflow_capacity_bps', None):
            ids.append('external_ids:payflow-capacity-bps=%d' % intf.payflow_capacity_bps)
        if getattr(intf, 'payflow_role', None) == 'trunk':
            ids.append('external_ids:payflow-role=trunk')
        if ids:
            options += ' -- set Port %s %s' % (intf, ' '.join(ids))
        return options


class PayflowTopo(Topo):
    """Helpers to number hosts, ports and trunks the same way in every topology."""

    def build(self, **params):
        self.host_count = 0
        self.next_port = {}
        self.next_trunk = {}
        self.build_network(**params)

    def build_network(self):
        raise NotImplementedError

    def add_switch(self):
        number = len(self.next_port) + 1
        switch = self.addSwitch('s%d' % number, dpid='%016x' % number)
        self.next_port[switch] = 1
        self.next_trunk[switch] = FIRST_TRUNK_PORT
        return switch

    def add_host(self, switch, capacity_bps=HOST_BPS):
        self.host_count += 1
        number = self.host_count
        if number > MAX_HOSTS:
            raise ValueError('more than %d hosts' % MAX_HOSTS)
        self._attach('h%d' % number, number, switch, self.next_port[switch], capacity_bps)
        self.next_port[switch] += 1

    def add_intruder(self, switch, number, capacity_bps=HOST_BPS):
        """A host on a spare port, named m<n> after the n-th switch: the one that spoofs."""
        self._attach('m%s' % switch[1:], number, switch, INTRUDER_PORT, capacity_bps)

    def add_trunk(self, switch1, switch2, capacity_bps):
        port1, port2 = self.next_trunk[switch1], self.next_trunk[switch2]
        self.next_trunk[switch1] += 1
        self.next_trunk[switch2] += 1
        self.addLink(switch1, switch2, port1=port1, port2=port2, capacity_bps=capacity_bps, role='trunk')

    def _attach(self, name, number, switch, port, capacity_bps):
        self.addHost(name, ip=ip_of(number) + '/24', mac=mac_of(number))
        self.addLink(name, switch, port1=0, port2=port, capacity_bps=capacity_bps, role='host')


class Paper(PayflowTopo):
    """The network of the PayFlow paper: s1 - s2 - s3; h1, h2 on s1, h3 on s2, h4 on s3; the second trunk is the bottleneck.

    Beside it, one intruder on each switch: m1, m2, m3 with 10.0.0.11 to 10.0.0.13.
    """

    def build_network(self, trunk_bps=100 * MBIT, bottleneck_bps=20 * MBIT, host_bps=HOST_BPS):
        s1, s2, s3 = (self.add_switch() for _ in range(3))
        for switch in (s1, s1, s2, s3):
            self.add_host(switch, host_bps)
        for number, switch in enumerate((s1, s2, s3), 11):
            self.add_intruder(switch, number, host_bps)
        self.add_trunk(s1, s2, trunk_bps)
        self.add_trunk(s2, s3, bottleneck_bps)


class Regular(PayflowTopo):
    """`switches` switches with `hosts` hosts each, and trunks of one capacity."""

    def build_network(self, switches=3, hosts=1, trunk_bps=20 * MBIT, host_bps=HOST_BPS):
        names = [self.add_switch() for _ in range(switches)]
        for switch in names:
            for _ in range(hosts):
                self.add_host(switch, host_bps)
        for switch1, switch2 in self.trunks(names):
            self.add_trunk(switch1, switch2, trunk_bps)

    def trunks(self, names):
        raise NotImplementedError


class Line(Regular):
    """A row of switches."""

    def trunks(self, names):
        return list(zip(names, names[1:]))


class Ring(Regular):
    """A row of at least three switches, closed."""

    def trunks(self, names):
        if len(names) < 3:
            raise ValueError('a ring needs at least 3 switches')
        return list(zip(names, names[1:] + names[:1]))


class Mesh(Regular):
    """A trunk between any two switches."""

    def trunks(self, names):
        return [(a, b) for i, a in enumerate(names) for b in names[i + 1:]]


class Detour(PayflowTopo):
    """Two switches with a trunk between them, and a detour of less capacity over a third: s1 - s2 and s1 - s3 - s2.

    `senders` hosts on s1, then `receivers` hosts on s2.
    """

    def build_network(self, senders=5, receivers=2, trunk_bps=40 * MBIT, detour_bps=20 * MBIT, host_bps=HOST_BPS):
        s1, s2, s3 = (self.add_switch() for _ in range(3))
        for switch in [s1] * senders + [s2] * receivers:
            self.add_host(switch, host_bps)
        self.add_trunk(s1, s2, trunk_bps)
        self.add_trunk(s1, s3, detour_bps)
        self.add_trunk(s3, s2, detour_bps)


class Given(PayflowTopo):
    """A topology from elsewhere: a number of switches; for every host its switch, numbered from 0 on, and what its link carries, or
    None; for every trunk its two switches and what it carries."""

    def build_network(self, switches=1, hosts=(), trunks=(), host_bps=HOST_BPS):
        names = [self.add_switch() for _ in range(switches)]
        for switch, capacity_bps in hosts:
            self.add_host(names[switch], capacity_bps or host_bps)
        for switch1, switch2, capacity_bps in trunks:
            self.add_trunk(names[switch1], names[switch2], capacity_bps)


KINDS = {'paper': Paper, 'line': Line, 'ring': Ring, 'mesh': Mesh, 'detour': Detour, 'given': Given}

# `mn` and `payflow-lab topology` find the paper's network here; `payflow.py` has the rest for `mn`.
topos = {'payflow': Paper}


def make(kind, **params):
    """A topology by name; parameters as the class's `build_network` takes them."""
    if kind not in KINDS:
        raise ValueError('unknown topology %r; known: %s' % (kind, ', '.join(sorted(KINDS))))
    return KINDS[kind](**params)
