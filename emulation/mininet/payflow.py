"""PayFlow for `mn`: a switch, a controller and a link.

    sudo mn --custom emulation/mininet/payflow.py --controller payflow --switch payflow --link payflow,bw=20 --topo tree,2

`--controller payflow` starts `payflow controller` with a development ledger inside, in a directory that goes with it, and puts the
API at http://10.0.0.254:8080, where the hosts reach it in band: `h1 payflow wallet new`, and so on. The program is `payflow` of the
PATH, or one that was built here, or what PAYFLOW names; `payflow,config=FILE` takes a configuration of yours.

`--switch payflow` tells the controller through OVSDB what each port carries and where it leads. A link without a rate counts as
1 Gbit/s. Do not add `--link tc`: its queues and the controller's want the same place.

The root namespace gets an interface, `pf-api`, with the API's address, and a route to each host, until `mn` ends.
"""
import os
import shutil
import socket
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(sys._getframe().f_code.co_filename))     # `mn` sets no __file__
sys.path.insert(0, HERE)

from mininet.link import Link, OVSLink, TCLink, TCULink     # noqa: E402
from mininet.log import error, info, warn           # noqa: E402
from mininet.node import Controller, Host, Switch   # noqa: E402
from mininet.util import errRun                     # noqa: E402
import topology                                     # noqa: E402

API_INTERFACE = 'pf-api'
START_SECONDS = 20

CONFIG = '''data_dir = "%s/state"
[http]
listen = "0.0.0.0:%d"
[api_port]
address = "%s"
mac = "%s"
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
        found = shutil.which(candidate)
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

    def __init__(self, name, config=None, http_port=8080, **params):
        self.config = config
        self.http_port = int(http_port)
        self.directory = None
        self.has_api_port = False
        Controller.__init__(self, name, **params)

    def checkListening(self):
        for port in (self.port, self.http_port):
            with socket.socket() as probe:
                if probe.connect_ex((self.ip, port)) == 0:
                    raise RuntimeError('something listens on port %d already' % port)

    def start(self):
        program = find_payflow()
        self.directory = tempfile.mkdtemp(prefix='payflow-')
        config = self.config
        if config is None:
            config = os.path.join(self.directory, 'payflow.toml')
            number = topology.API_HOST_NUMBER
            with open(config, 'w', encoding='utf-8') as file:
                file.write(CONFIG % (self.directory, self.http_port, topology.ip_of(number), topology.mac_of(number)))
        self.log = os.path.join(self.directory, 'log')
        self.cmd('%s controller --config %s >%s 2>&1 &' % (program, os.path.abspath(config), self.log))
        end = time.monotonic() + START_SECONDS
        while not self._listens():
            if not self.cmd('jobs -r').strip() or time.monotonic() > end:
                raise RuntimeError('payflow did not start; it says:\n' + self._words())
            time.sleep(0.1)
        info('payflow: log in %s, API at http://%s:%d\n' % (self.log, topology.ip_of(topology.API_HOST_NUMBER), self.http_port))

    def _listens(self):
        with socket.socket() as probe:
            return probe.connect_ex((self.ip, self.port)) == 0

    def _words(self):
        try:
            with open(self.log, encoding='utf-8', errors='replace') as file:
                return file.read()[-2000:]
        except OSError:
            return 'nothing'

    def api_port(self, switch):
        """The API's interface, on a port of the first switch that asks."""
        if self.has_api_port:
            return
        self.has_api_port = True
        number, name = topology.API_HOST_NUMBER, switch.name + '-api'
        if os.path.exists('/sys/class/net/' + API_INTERFACE):
            raise RuntimeError('%s is there already: `mn -c`, then `ip link delete %s`' % (API_INTERFACE, API_INTERFACE))
        run('ip', 'link', 'add', API_INTERFACE, 'address', topology.mac_of(number), 'type', 'veth', 'peer', 'name', name)
        quiet_port(name)
        sysctl('ipv4/conf/%s/arp_ignore' % API_INTERFACE, 1)
        for interface in (API_INTERFACE, name):
            offloads_off(interface, errRun)
            run('ip', 'link', 'set', interface, 'up')
        # This address alone: whatever else is in 10.0.0.0/8 stays where it is.
        run('ip', 'address', 'add', topology.ip_of(number) + '/32', 'dev', API_INTERFACE)
        run('ovs-vsctl', 'add-port', switch.name, name, '--', 'set', 'Interface', name, 'ofport_request=%d' % topology.API_PORT,
            '--', 'set', 'Port', name, 'external_ids:payflow-role=api',
            'external_ids:payflow-capacity-bps=%d' % topology.HOST_BPS)

    def stop(self, *_args, **_kwargs):
        self.cmd('kill %1; wait')
        if self.has_api_port:
            errRun('ip', 'link', 'delete', API_INTERFACE)
        if self.directory:
            shutil.rmtree(self.directory, ignore_errors=True)
        self.terminate()


def offloads_off(interface, command):
    """Meters and queues count frames as they are on a wire, not in heaps."""
    command('ethtool', '-K', interface, 'tx', 'off', 'tso', 'off', 'gso', 'off', 'gro', 'off')


class PayflowMnSwitch(topology.PayflowSwitch):
    """A switch whose links were made by whatever class."""

    def __init__(self, name, **params):
        # In a batch the bridges are made after `start`, which has work to do on them.
        params['batch'] = False
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
    def _peer(intf):
        link = intf.link
        if not link:
            return None
        return (link.intf2 if intf is link.intf1 else link.intf1).node

    def start(self, controllers):
        topology.PayflowSwitch.start(self, controllers)
        own = [controller for controller in controllers if isinstance(controller, PayflowController)]
        for controller in own:
            controller.api_port(self)
        for intf in self.intfList():
            if not intf.link:
                continue
            quiet_port(intf.name)
            host = self._peer(intf)
            if not isinstance(host, Host) or isinstance(host, Switch):
                continue
            offloads_off(host.defaultIntf().name, host.cmd)
            if own and host.IP():
                out, err, status = errRun('ip', 'route', 'add', host.IP() + '/32', 'dev', API_INTERFACE,
                                          'src', topology.ip_of(topology.API_HOST_NUMBER))
                if status:
                    error('no route to %s, so it cannot reach the API: %s%s\n' % (host.name, out, err))


controllers = {'payflow': PayflowController}
switches = {'payflow': PayflowMnSwitch}
# Mininet 2.3 means to read `links` and does not (a comma is missing in its list of names); other names become its own.
LINKS = {'default': Link, 'tc': TCLink, 'tcu': TCULink, 'ovs': OVSLink, 'payflow': topology.CapacityLink}
topos = {'payflow': topology.Paper}
