"""Runs a Mininet script as it is, with PayFlow in its network: `payflow-lab mininet SCRIPT`.

    python3 run_script.py SCRIPT[:NAME[,ARGUMENT...]] [ARGUMENT ...]

It is the first process of fresh network, mount and process namespaces, as `lab.py` is, with an Open vSwitch of its own: when it ends,
however it ends, the kernel takes everything with it, and nothing on the machine has changed. /tmp and the working directory are the
machine's own: what the script writes there stays.

What the script imports from Mininet is Mininet, except for the names below, which become PayFlow's:

    OVSSwitch, OVSKernelSwitch, UserSwitch, IVSSwitch              a switch of PayFlow's
    Controller, OVSController, RemoteController, NOX, Ryu, ...     the one controller, PayFlow's
    Link, TCLink, TCULink, OVSLink, TCIntf                         links whose rates the controller is told and enforces
    CPULimitedHost                                                 a host without limits

LinuxBridge, OVSBridge and switches of the script's own making stay what they are, and PayFlow does not see them. A script that starts no
network and has `topos = {...}` is run as `mn --custom` would, up to Mininet's command line.
"""
import os
import runpy
import sys
import types

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)

import lab                                          # noqa: E402
import payflow                                      # noqa: E402
import topology                                     # noqa: E402
import wire                                         # noqa: E402
from private_ovs import PrivateOvs                  # noqa: E402

import mininet                                      # noqa: E402
import mininet.clean                                # noqa: E402
import mininet.cli                                  # noqa: E402
import mininet.link                                 # noqa: E402
import mininet.net                                  # noqa: E402
import mininet.node                                 # noqa: E402
import mininet.topolib                              # noqa: E402
from mininet.link import Intf, Link, OVSIntf, TCIntf    # noqa: E402
from mininet.log import info, setLogLevel, warn     # noqa: E402
from mininet.node import DefaultController, Host, OVSBridge, OVSSwitch, Switch   # noqa: E402

# What options of Mininet's controllers and switches say about programs and protocols that are not used here.
CONTROLLER_OPTIONS = ('command', 'cargs', 'cdir', 'ip', 'port', 'protocol', 'verbose', 'ryuArgs', 'noxArgs', 'inNamespace')
SWITCH_OPTIONS = ('failMode', 'protocols', 'inband', 'stp', 'batch', 'dpopts', 'reconnectms', 'verbose', 'inNamespace')

_said = set()


def say_once(text):
    if text not in _said:
        _said.add(text)
        warn('*** ' + text + '\n')


class ScriptController(payflow.PayflowController):
    """Whatever controller the script wants. The first that starts is it, and others stand for it."""

    api_address = None

    def __init__(self, name, *_args, **params):
        for option in CONTROLLER_OPTIONS:
            params.pop(option, None)
        payflow.PayflowController.__init__(self, name, address=self.api_address, **params)

    def checkListening(self):
        if payflow.PayflowController.running is None:
            payflow.PayflowController.checkListening(self)

    def start(self):
        if payflow.PayflowController.running is None:
            payflow.PayflowController.start(self)

    def stop(self, *_args, **_kwargs):
        if payflow.PayflowController.running is self:
            payflow.PayflowController.stop(self)
        elif self.shell:
            self.terminate()

    @classmethod
    def isAvailable(cls):
        return True


class ScriptSwitch(payflow.PayflowMnSwitch):
    """Whatever OpenFlow switch the script wants."""

    def __init__(self, name, **params):
        for option in SWITCH_OPTIONS:
            params.pop(option, None)
        params['inNamespace'] = False
        if params.get('datapath') != 'user':    # "kernel" is Mininet's default, and means: where there is one
            params['datapath'] = payflow.default_datapath()
        payflow.PayflowMnSwitch.__init__(self, name, **params)

    def attach(self, intf):
        """A port that comes later, with what the controller is to know about it."""
        self.vsctl('add-port', self, intf, self.intfOpts(intf))
        payflow.quiet_port(str(intf))
        self.cmd('ip link set', intf, 'up')


class ScriptBridge(OVSBridge):
    """A switch of Open vSwitch without a controller, on the datapath that is there."""

    def __init__(self, name, **params):
        params.setdefault('datapath', payflow.default_datapath())
        OVSBridge.__init__(self, name, **params)


class ScriptIntf(TCIntf):
    """An interface of a link with a rate. A host's is shaped as Mininet shapes it; of a switch port the controller is told."""

    def config(self, bw=None, delay=None, jitter=None, loss=None, max_queue_size=None, **params):
        if (delay or loss) and not wire.netem_works():
            delay = jitter = loss = None
        if not isinstance(self.node, Switch):
            return TCIntf.config(self, bw=bw, delay=delay, jitter=jitter, loss=loss,
                                              max_queue_size=max_queue_size, **dict(params, txo=False))
        if delay or loss:
            say_once('%s: delay and loss of a port of a switch are those with which its link was made' % self)
        if bw:
            self.payflow_capacity_bps = round(float(bw) * topology.MBIT)
            self.cmd('ovs-vsctl --if-exists set Port', self, 'external_ids:payflow-capacity-bps=%d' % self.payflow_capacity_bps)
        for option in ('txo', 'rxo', 'gro', 'disable_gro', 'use_htb', 'use_hfsc', 'use_tbf', 'speedup', 'enable_ecn', 'enable_red',
                       'latency_ms'):
            params.pop(option, None)
        return Intf.config(self, **params)


class ScriptLink(topology.CapacityLink):
    """Whatever link the script wants."""

    def __init__(self, node1, node2, bw=None, **params):
        for option in ('cls1', 'cls2', 'intf'):
            if params.get(option) in (TCIntf, OVSIntf, Intf, None):
                params.pop(option, None)
        params.setdefault('intf', ScriptIntf)
        topology.CapacityLink.__init__(self, node1, node2, bw=bw, **params)
        for intf in (self.intf1, self.intf2):
            if bw and isinstance(intf, ScriptIntf) and not isinstance(intf.node, Switch):
                intf.config(bw=bw)


class ScriptHost(Host):
    """Mininet's CPULimitedHost without limits: they would be control groups of the whole machine, which outlive a killed lab."""

    def __init__(self, name, sched='cfs', **params):
        say_once('limits of processor time are left out')
        Host.__init__(self, name, **params)

    def config(self, cpu=None, cores=None, **params):
        return Host.config(self, **params)

    def setCPUFrac(self, *_args, **_kwargs):
        pass

    setCPUs = rtInfo = cfsInfo = cgroupSet = setCPUFrac

    @classmethod
    def init(cls):
        pass


def default_controller(name, *_args, **params):
    return ScriptController(name, **params)


def stand_in(original, **names):
    """A module as scripts see it. Mininet's own code keeps the names that it has."""
    module = types.ModuleType(original.__name__, original.__doc__)
    module.__dict__.update(original.__dict__, **names)
    sys.modules[original.__name__] = module
    setattr(mininet, original.__name__.rpartition('.')[2], module)


def take_part():
    """Puts PayFlow's classes where scripts find Mininet's."""
    net = mininet.net.Mininet
    net.inited = True           # skips Mininet's changes to the limits of the whole machine
    ours = {OVSSwitch: ScriptSwitch, DefaultController: default_controller,
            Link: ScriptLink}
    net.__init__.__defaults__ = tuple(ours.get(value, value) if callable(value) else value for value in net.__init__.__defaults__)
    start = net.start

    def start_with_payflow(self):
        if not self.built:
            self.build()
        if any(isinstance(switch, payflow.PayflowMnSwitch) for switch in self.switches):
            choose_controllers(self)
        return start(self)

    net.start = start_with_payflow
    mininet.clean.Cleanup.cleanup = classmethod(lambda cls: info('*** nothing to clean up: everything here is new\n'))
    mininet.clean.cleanup = mininet.clean.Cleanup.cleanup

    node, link = mininet.node, mininet.link
    switches = {name: ScriptSwitch for name in ('OVSSwitch', 'OVSKernelSwitch', 'UserSwitch', 'IVSSwitch') if hasattr(node, name)}
    controllers = {name: ScriptController for name in ('Controller', 'OVSController', 'RemoteController', 'NOX', 'Ryu')}
    stand_in(link, Link=ScriptLink, TCLink=ScriptLink, TCULink=ScriptLink, OVSLink=ScriptLink, TCIntf=ScriptIntf)
    stand_in(node, OVSBridge=ScriptBridge, CPULimitedHost=ScriptHost, DefaultController=default_controller,
             findController=lambda *_args: ScriptController, **switches, **controllers)


def choose_controllers(net):
    """PayFlow's controller, whatever the script has put there; its address in the network is one that no host has."""
    taken = {intf.IP() for host in net.hosts for intf in host.intfList()}
    candidates = [topology.ip_of(topology.API_HOST_NUMBER), '10.255.255.254', '172.31.255.254', '192.168.255.254']
    address = next(candidate for candidate in candidates if candidate not in taken)
    if not net.controllers:
        info('*** the script has no controller: PayFlow\'s it is\n')
        net.addController('c0', controller=ScriptController)
    for controller in net.controllers:
        if not isinstance(controller, payflow.PayflowController):
            raise SystemExit('%s is a controller of its own making, which PayFlow cannot stand for' % controller.name)
        controller.address = address
        kind = type(controller)
        if not isinstance(controller, ScriptController):
            continue
        if kind.start is not ScriptController.start:
            say_once('%s: its program is not started; PayFlow is in its place' % kind.__name__)
            kind.start, kind.stop = ScriptController.start, ScriptController.stop
    strangers = [switch.name for switch in net.switches if not isinstance(switch, payflow.PayflowMnSwitch)]
    if strangers:
        say_once('not seen by PayFlow: ' + ', '.join(strangers))


def numeric(text):
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def run_topology(topos, wanted):
    """As `mn --custom SCRIPT --topo NAME,ARGUMENT,...`."""
    name, *arguments = wanted.split(',') if wanted else [None]
    if name is None:
        if len(topos) != 1:
            sys.exit('it has several topologies; name one, as in SCRIPT:NAME,ARGUMENT: ' + ', '.join(sorted(topos)))
        name = next(iter(topos))
    if name not in topos:
        sys.exit('no topology %r in `topos`; there are: %s' % (name, ', '.join(sorted(topos)) or 'none'))
    pairs = [argument.partition('=') for argument in arguments]
    topo = topos[name](*[numeric(key) for key, equals, _ in pairs if not equals],
                       **{key: numeric(value) for key, equals, value in pairs if equals})
    setLogLevel('info')
    net = mininet.net.Mininet(topo=topo)
    net.start()
    mininet.cli.CLI(net)
    net.stop()


def main():
    script, *arguments = sys.argv[1:]
    wanted = None
    if not os.path.exists(script):
        script, _, wanted = script.rpartition(':')
    if not os.path.isfile(script):
        sys.exit('no script ' + sys.argv[1])
    lab.isolate()
    PrivateOvs().start()
    take_part()
    started = []
    start = mininet.net.Mininet.start

    def remember(self):
        started.append(self)
        return start(self)

    mininet.net.Mininet.start = remember
    # A script may have a `topology.py` beside it. Those that know PayFlow import `payflow`.
    sys.path.remove(HERE)
    for name in ('lab', 'private_ovs', 'repairs', 'topology', 'wire'):
        sys.modules.pop(name, None)
    sys.argv = [script] + arguments
    sys.path.insert(0, os.path.dirname(os.path.abspath(script)))
    names = runpy.run_path(script, run_name='__main__' if wanted is None else 'payflow_custom')
    if started and wanted is None:
        return
    topos = names.get('topos')
    if not topos and wanted is None:
        warn('*** %s has started no network, and has no `topos = {...}`\n' % script)
        return
    run_topology(topos or {}, wanted)


if __name__ == '__main__':
    main()
