"""PayFlow for `mn`, and for scripts: a switch, a controller and a link.

    sudo mn --custom emulation/mininet/payflow.py --controller payflow --switch payflow --link payflow,bw=20 --topo tree,2

    from payflow import CapacityLink, PayflowController, PayflowMnSwitch     # with this directory in PYTHONPATH
    net = Mininet(topo=MyTopo(), switch=PayflowMnSwitch, controller=PayflowController, link=CapacityLink)

`payflow-lab mininet SCRIPT` runs scripts that know nothing of it.

The controller starts `payflow controller` with a development ledger inside, in a directory that goes with it, and puts the
API at http://10.0.0.254:8080, where the hosts reach it in band. Every host has the command: `h1 payflow wallet new`, and so on, each
with a wallet of its own. The program is `payflow` of the PATH, or one that was built here, or what PAYFLOW names;
`payflow,config=FILE` takes a configuration of yours, `payflow,address=A` another address for the API.

The switch tells the controller through OVSDB what each port carries and where it leads. A link without a rate counts as
1 Gbit/s. Do not add `--link tc`: its queues and the controller's want the same place. The link takes TCLink's `bw`, `delay`, `jitter`
and `loss` instead; the last three need the kernel's netem, and are left out, with a word, where it has none.

Where the kernel has the openvswitch module, it forwards. Elsewhere Open vSwitch's userspace datapath does, with what it needs before
its queues mean what they say (`repairs.py`); `payflow,datapath=user` and `datapath=kernel` ask for one of both.

The root namespace gets an interface, `pf-api`, with the API's address, and a route to each host, until the network ends.
"""
import functools
import ipaddress
import json
import os
import shutil
import socket
import sys
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(sys._getframe().f_code.co_filename))     # `mn` sets no __file__
sys.path.insert(0, HERE)

from mininet.link import Link, OVSLink, TCLink, TCULink     # noqa: E402
from mininet.log import error, info, warn           # noqa: E402
from mininet.node import Controller, Host, Switch   # noqa: E402
from mininet.util import errRun                     # noqa: E402
from private_ovs import kernel_datapath             # noqa: E402
from repairs import Repairs, Watcher                # noqa: E402
from topology import CapacityLink                   # noqa: E402
import topology                                     # noqa: E402

API_INTERFACE = 'pf-api'
START_SECONDS = 20
# For the controller to know switches and trunks; the network is usable after it, and not before.
READY_SECONDS = 30

# Everything of this process: state, log, wallets, and the command of the hosts. The shells of hosts have the PATH of now.
DIRECTORY = '/run/payflow-mn-%d' % os.getpid()
SEARCHED = os.environ.get('PATH', os.defpath)
os.environ['PATH'] = os.path.join(DIRECTORY, 'bin') + os.pathsep + SEARCHED

CONFIG = '''data_dir = "%s/state"
[http]
listen = "0.0.0.0:%d"
[api_port]
address = "%s"
mac = "%s"
'''

# A host is known by its network namespace, whether its shell, a terminal or `popen` runs this.
COMMAND = '''#!/bin/sh
: "${PAYFLOW_API:=http://%(address)s:%(port)d}"
: "${PAYFLOW_WALLET:=%(directory)s/wallets/$(readlink /proc/self/ns/net | tr -dc 0-9).key}"
export PAYFLOW_API PAYFLOW_WALLET
exec %(program)s "$@"
'''


def run(*argv):
    """Runs a command. A failure raises with what it said."""
    out, err, status = errRun(*argv)
    if status:
        raise RuntimeError('%s: %s' % (' '.join(argv), (out + err).strip()))
    return out


def find_payflow():
    """The program to start."""
    root = os.path.join(HERE, '..', '..', 'target')
    wanted = [os.environ.get('PAYFLOW'), 'payflow', os.path.join(root, 'release', 'payflow'), os.path.join(root, 'debug', 'payflow')]
    for candidate in filter(None, wanted):
        found = shutil.which(candidate, path=SEARCHED)
        if found:
            return os.path.abspath(found)
    raise RuntimeError('no program `payflow`: build it with `cargo build --release -p payflow-controller`, or set PAYFLOW')


def sysctl(name, value):
    """Sets a value of this network namespace, where the kernel has it."""
    path = '/proc/sys/net/' + name
    if os.path.exists(path):
        with open(path, 'w', encoding='ascii') as file:
            file.write(str(value))


def quiet_port(name):
    """A switch port is no host: it must neither speak IPv6 of its own nor answer ARP for the addresses of this namespace."""
    sysctl('ipv6/conf/%s/disable_ipv6' % name, 1)
    sysctl('ipv4/conf/%s/arp_ignore' % name, 8)


class PayflowController(Controller):
    """`payflow controller` on this machine."""

    # The one that runs, if one does: a machine, or a namespace, has room for one.
    running = None

    def __init__(self, name, config=None, http_port=8080, address=None, **params):
        self.config = config
        self.http_port = int(http_port)
        self.address = address or topology.ip_of(topology.API_HOST_NUMBER)
        self.has_api_port = False
        self.started = []       # its switches
        self.repairs = None
        Controller.__init__(self, name, **params)

    def checkListening(self):
        for port in (self.port, self.http_port):
            with socket.socket() as probe:
                if probe.connect_ex((self.ip, port)) == 0:
                    raise RuntimeError('something listens on port %d already' % port)

    def start(self):
        program = find_payflow()
        for part in ('bin', 'wallets'):
            os.makedirs(os.path.join(DIRECTORY, part), mode=0o700, exist_ok=True)
        config = self.config
        if config is None:
            config = os.path.join(DIRECTORY, 'payflow.toml')
            with open(config, 'w', encoding='utf-8') as file:
                file.write(CONFIG % (DIRECTORY, self.http_port, self.address, topology.mac_of(topology.API_HOST_NUMBER)))
        command = os.path.join(DIRECTORY, 'bin', 'payflow')
        with open(command, 'w', encoding='utf-8') as file:
            file.write(COMMAND % {'address': self.address, 'port': self.http_port, 'directory': DIRECTORY, 'program': program})
        os.chmod(command, 0o700)
        self.log = os.path.join(DIRECTORY, 'log')
        PayflowController.running = self
        self.cmd('%s controller --config %s >%s 2>&1 &' % (program, os.path.abspath(config), self.log))
        end = time.monotonic() + START_SECONDS
        while not self._listens():
            if not self.cmd('jobs -r').strip() or time.monotonic() > end:
                raise RuntimeError('payflow did not start; it says:\n' + self._words())
            time.sleep(0.1)
        info('payflow: log in %s, API at http://%s:%d\n' % (self.log, self.address, self.http_port))

    def _listens(self):
        with socket.socket() as probe:
            return probe.connect_ex((self.ip, self.port)) == 0

    def _words(self):
        try:
            with open(self.log, encoding='utf-8', errors='replace') as file:
                return file.read()[-2000:]
        except OSError:
            return 'nothing'

    def wait_ready(self):
        """Until it is ready to sell on every switch that was started; says so if that takes too long."""
        end = time.monotonic() + READY_SECONDS
        last = 'no answer'
        while time.monotonic() < end:
            last = self._readiness()
            if last.get('ready') and last.get('switches_ready', 0) >= len(self.started):
                return
            time.sleep(0.1)
        warn('*** payflow is not ready after %d s: %s\n' % (READY_SECONDS, last))

    def _readiness(self):
        try:
            with urllib.request.urlopen('http://%s:%d/readyz' % (self.ip, self.http_port), timeout=2) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refusal:       # 503 as long as it is not
            text = refusal.read().decode('utf-8', 'replace')
            try:
                return json.loads(text)
            except ValueError:
                return {'said': text}
        except (OSError, ValueError) as problem:
            return {'said': str(problem)}

    def repair(self):
        """What the userspace datapath needs, from now on."""
        try:
            if self.repairs is None:
                self.repairs = Repairs(only=self._devices)
                Watcher(self.repairs, lambda text: error('*** %s\n' % text)).start()
            self.repairs.apply()
        except (OSError, RuntimeError, ValueError) as problem:
            error('*** %s: the userspace datapath is not repaired, so guarantees do not hold\n' % problem)

    def _devices(self):
        names = {intf.name for switch in self.started for intf in switch.intfList() if intf.link}
        return names | {self.api_device} if self.has_api_port else names

    def api_port(self, switch):
        """The API's interface, on a port of the first switch that asks."""
        if self.has_api_port:
            return
        self.has_api_port = True
        number, name = topology.API_HOST_NUMBER, switch.name + '-api'
        self.api_device = name
        if os.path.exists('/sys/class/net/' + API_INTERFACE):
            raise RuntimeError('%s is there already: `mn -c`, then `ip link delete %s`' % (API_INTERFACE, API_INTERFACE))
        run('ip', 'link', 'add', API_INTERFACE, 'address', topology.mac_of(number), 'type', 'veth', 'peer', 'name', name)
        quiet_port(name)
        sysctl('ipv4/conf/%s/arp_ignore' % API_INTERFACE, 1)
        for interface in (API_INTERFACE, name):
            offloads_off(interface, errRun)
            run('ip', 'link', 'set', interface, 'up')
        # This address alone: whatever else is in 10.0.0.0/8 stays where it is.
        run('ip', 'address', 'add', self.address + '/32', 'dev', API_INTERFACE)
        run('ovs-vsctl', 'add-port', switch.name, name, '--', 'set', 'Interface', name, 'ofport_request=%d' % topology.API_PORT,
            '--', 'set', 'Port', name, 'external_ids:payflow-role=api',
            'external_ids:payflow-capacity-bps=%d' % topology.HOST_BPS)

    def stop(self, *_args, **_kwargs):
        if self.repairs:
            self.repairs.remove()
        self.cmd('kill %1; wait')
        if self.has_api_port:
            errRun('ip', 'link', 'delete', API_INTERFACE)
        if PayflowController.running is self:
            PayflowController.running = None
            shutil.rmtree(DIRECTORY, ignore_errors=True)
        self.terminate()


def offloads_off(interface, command):
    """Meters and queues count frames as they are on a wire, not in heaps."""
    command('ethtool', '-K', interface, 'tx', 'off', 'tso', 'off', 'gso', 'off', 'gro', 'off')


@functools.lru_cache
def default_datapath():
    """The kernel's where it is there."""
    return 'kernel' if kernel_datapath() else 'user'


class PayflowMnSwitch(topology.PayflowSwitch):
    """A switch whose links were made by whatever class."""

    def __init__(self, name, **params):
        # In a batch the bridges are made after `start`, which has work to do on them.
        params['batch'] = False
        if not params.get('datapath'):
            params['datapath'] = default_datapath()
        topology.PayflowSwitch.__init__(self, name, **params)

    def intfOpts(self, intf):
        if getattr(intf, 'payflow_capacity_bps', None) is None:
            if intf.params.get('bw'):
                warn('%s: its queues are in the way of the controller\'s; use --link payflow,bw=%s\n' % (intf, intf.params['bw']))
            intf.payflow_capacity_bps = topology.HOST_BPS
        if isinstance(self._peer(intf), Switch):
            intf.payflow_role = 'trunk'
        return topology.PayflowSwitch.intfOpts(self, intf)

    def vsctl(self, *args, **kwargs):
        """As Mininet's, which does not look at what is said."""
        out = topology.PayflowSwitch.vsctl(self, *args, **kwargs)
        if out and out.startswith('ovs-vsctl:'):
            raise RuntimeError(out.strip())
        return out

    @staticmethod
    def _far_end(intf):
        link = intf.link
        if not link:
            return None
        return link.intf2 if intf is link.intf1 else link.intf1

    @classmethod
    def _peer(cls, intf):
        far = cls._far_end(intf)
        return far and far.node

    def start(self, controllers):
        topology.PayflowSwitch.start(self, controllers)
        own = any(isinstance(controller, PayflowController) for controller in controllers)
        controller = PayflowController.running if own else None
        if controller:
            controller.api_port(self)
            controller.started.append(self)
        for intf in self.intfList():
            if not intf.link:
                continue
            quiet_port(intf.name)
            if not isinstance(self._peer(intf), Switch):
                self._prepare(self._far_end(intf), controller)

    @staticmethod
    def _prepare(intf, controller):
        """The interface of a host, or of a node that routes: frames as on a wire, and the way to the API and back."""
        node = intf.node
        offloads_off(intf.name, node.cmd)
        if not controller or not intf.IP():
            return
        out, err, status = errRun('ip', 'route', 'replace', intf.IP() + '/32', 'dev', API_INTERFACE, 'src', controller.address)
        if status:
            error('no route to %s, so it cannot reach the API: %s%s\n' % (node.name, out, err))
        network = ipaddress.ip_network('%s/%s' % (intf.IP(), intf.prefixLen or 8), strict=False)
        # A node that routes knows its ways; another has one to the API.
        if isinstance(node, Host) and intf is node.defaultIntf() and ipaddress.ip_address(controller.address) not in network:
            node.cmd('ip route replace %s/32 dev %s' % (controller.address, intf.name))

    @classmethod
    def batchStartup(cls, switches, run=errRun):
        """Mininet calls this when all have been started: until then hosts are not to talk."""
        result = super().batchStartup(switches, run)
        controller = PayflowController.running
        if controller:
            controller.wait_ready()
            if any(switch.datapath == 'user' for switch in controller.started):
                controller.repair()
        return result


controllers = {'payflow': PayflowController}
switches = {'payflow': PayflowMnSwitch}
# Mininet 2.3 means to read `links` and does not (a comma is missing in its list of names); other names become its own.
LINKS = {'default': Link, 'tc': TCLink, 'tcu': TCULink, 'ovs': OVSLink, 'payflow': CapacityLink}
topos = {'payflow': topology.Paper}
