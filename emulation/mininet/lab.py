"""Runs one emulated network and obeys JSON lines on standard input: one request a line, one answer a line.

    {"id": 1, "op": "start", "topology": {"kind": "paper"}}    ->    {"id": 1, "ok": {...}}    or    {"id": 1, "error": "..."}

It is the first process of fresh network, mount and process namespaces (`unshare --net --mount --pid --fork --kill-child
--mount-proc`). The end of standard input is the end of the lab: this process exits, the kernel kills every other process
of the namespaces, and devices, mounts and files go with them. Nothing outside is changed.

Requests run side by side; the operations are the methods of `Lab` named `op_*`.
"""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from mininet.net import Mininet                     # noqa: E402
import topology                                     # noqa: E402
from private_ovs import PrivateOvs, kernel_datapath, run    # noqa: E402
from repairs import Repairs, Watcher                # noqa: E402

API_PORT_NAME = 's1-api'
API_INTERFACE = 'pf-api'
OFFLOADS = ('tx', 'tso', 'gso', 'gro')
OUTPUT_DIR = '/run/payflow-lab'
# Outputs up to this size travel back in one answer.
READ_BYTES = 16 << 20


def log(text):
    print('lab: ' + text, file=sys.stderr, flush=True)


def isolate():
    """Makes these namespaces private to the lab. Refuses to run in the machine's own."""
    if os.getpid() != 1:
        sys.exit('lab.py must be the first process of its own namespaces; see payflow-lab')
    run('mount', '-t', 'tmpfs', '-o', 'mode=755', 'payflow-lab', '/run')
    run('mount', '-t', 'sysfs', 'sysfs', '/sys')
    os.makedirs('/run/netns')
    os.makedirs('/run/lock')
    os.makedirs(OUTPUT_DIR)
    run('ip', 'link', 'set', 'lo', 'up')
    # A switch port is no host: it must neither speak IPv6 of its own nor answer ARP for the addresses of this namespace.
    sysctl('net.ipv6.conf.default.disable_ipv6', 1)
    sysctl('net.ipv4.conf.default.arp_ignore', 8)


def sysctl(name, value):
    """Sets a value of this network namespace, where the kernel has it."""
    path = '/proc/sys/' + name.replace('.', '/')
    if os.path.exists(path):
        with open(path, 'w', encoding='ascii') as file:
            file.write(str(value))


class Process:
    """A program started in a host or in the lab's own namespace, its output in files."""

    def __init__(self, number, popen, stdout, stderr):
        self.number, self.popen, self.paths = number, popen, {'stdout': stdout, 'stderr': stderr}

    def read(self, stream, offset):
        with open(self.paths[stream], 'rb') as file:
            file.seek(offset)
            data = file.read(READ_BYTES)
        return data, offset + len(data)


class Lab:
    def __init__(self):
        self.net = None
        self.ovs = PrivateOvs()
        self.repairs = None
        self.datapath = None
        self.processes = {}
        self.lock = threading.Lock()        # guards the process table
        self.network = threading.Lock()     # one change of the network at a time

    # The network

    def op_start(self, topology=None, controller='tcp:127.0.0.1:6653', datapath='auto', leaf_limits=None):
        """Brings the network up. `controller` null: no controller, for static flows."""
        with self.network:
            if self.net is not None:
                raise ValueError('already started')
            if datapath == 'auto':
                datapath = 'kernel' if kernel_datapath() else 'userspace'
            if datapath not in ('kernel', 'userspace'):
                raise ValueError('datapath must be auto, kernel or userspace')
            self.datapath = datapath
            self.ovs.start()
            self._build(dict(topology or {'kind': 'paper'}))
            self._api_port()
            if controller:
                for switch in self.net.switches:
                    run('ovs-vsctl', 'set-controller', switch.name, controller, '--', 'set', 'Controller', switch.name,
                        'max_backoff=1000', 'connection_mode=out-of-band')
            if datapath == 'userspace':
                self.repairs = Repairs({int(queue): limit for queue, limit in (leaf_limits or {}).items()})
                self._repair()
                Watcher(self.repairs, log).start()
        return self.op_info()

    def _build(self, params):
        Mininet.inited = True       # skips Mininet's changes to the limits of the whole machine
        self.net = Mininet(
            topo=topology.make(params.pop('kind'), **params), build=False, controller=None, link=topology.CapacityLink,
            switch=lambda name, **kw: topology.PayflowSwitch(
                name, datapath='user' if self.datapath == 'userspace' else 'kernel', **kw))
        self.net.build()
        for switch in self.net.switches:
            switch.start([])
        bridges = run('ovs-vsctl', 'list-br').split()
        missing = [switch.name for switch in self.net.switches if switch.name not in bridges]
        if missing:
            raise RuntimeError('switches %s did not start: %s' % (missing, self.ovs.log('ovs-vswitchd')))
        for host in self.net.hosts:
            interface = host.defaultIntf().name
            self._offloads_off(interface, ['mnexec', '-a', str(host.pid)])
            # Senders set cubic on their own sockets; this is for programs that do not. Where only the machine's owner may
            # allow cubic to namespaces, reno is the nearest.
            host.cmd('sysctl -qw net.ipv4.tcp_congestion_control=cubic || sysctl -qw net.ipv4.tcp_congestion_control=reno')

    def _api_port(self):
        """The controller's interface in the network, on a port of the first switch."""
        number = topology.API_HOST_NUMBER
        run('ip', 'link', 'add', API_INTERFACE, 'address', topology.mac_of(number), 'type', 'veth', 'peer', 'name', API_PORT_NAME)
        self._offloads_off(API_INTERFACE)
        sysctl('net.ipv4.conf.%s.arp_ignore' % API_INTERFACE, 1)
        sysctl('net.ipv6.conf.%s.disable_ipv6' % API_INTERFACE, 0)
        run('ip', 'address', 'add', topology.ip_of(number) + '/24', 'dev', API_INTERFACE)
        run('ip', 'link', 'set', API_INTERFACE, 'up')
        run('ip', 'link', 'set', API_PORT_NAME, 'up')
        run('ovs-vsctl', 'add-port', self.net.switches[0].name, API_PORT_NAME,
            '--', 'set', 'Interface', API_PORT_NAME, 'ofport_request=%d' % topology.API_PORT,
            '--', 'set', 'Port', API_PORT_NAME, 'external_ids:payflow-role=api',
            'external_ids:payflow-capacity-bps=%d' % topology.HOST_BPS)

    def _offloads_off(self, interface, prefix=()):
        argv = list(prefix) + ['ethtool', '-K', interface]
        for offload in OFFLOADS:
            argv += [offload, 'off']
        run(*argv)

    def _repair(self):
        # The socket that sends for every port exists from the first frame on: send one, to nobody.
        frame = 'ffffffffffff' + '020000000000' + '88b5' + '00' * 46
        run('ovs-ofctl', '-O', 'OpenFlow13', 'packet-out', self.net.switches[0].name,
            'in_port=controller packet=%s actions=output:%d' % (frame, topology.API_PORT))
        return self.repairs.apply()

    def op_repair(self):
        """Applies the repairs of the userspace datapath now; null on the kernel datapath, which needs none."""
        with self.network:
            return self._repair() if self.repairs else None

    def op_restart_switches(self, signal=signal.SIGKILL):
        """Ends ovs-vswitchd, which runs every switch, and starts it again: flows and meters are gone, queues stay."""
        with self.network:
            self.ovs.restart_vswitchd(signal)
            if self.repairs:
                self._repair()

    def op_link(self, a, b, up):
        """Takes every link between nodes `a` and `b` down or up."""
        with self.network:
            links = self.net.linksBetween(self.net[a], self.net[b])
            if not links:
                raise ValueError('no link between %s and %s' % (a, b))
            for link in links:
                for intf in (link.intf1, link.intf2):
                    result = intf.ifconfig('up' if up else 'down')
                    if result:
                        raise RuntimeError(result)

    def op_swallow(self, a, b, on):
        """Makes every link between switches `a` and `b` swallow all frames, without a word to either, or carry them again."""
        with self.network:
            links = self.net.linksBetween(self.net[a], self.net[b])
            if not links:
                raise ValueError('no link between %s and %s' % (a, b))
            table = 'payflow-%s-%s' % tuple(sorted((a, b)))
            rules = 'table netdev %s\ndelete table netdev %s\n' % (table, table)
            if on:
                devices = ', '.join('"%s"' % intf.name for link in links for intf in (link.intf1, link.intf2))
                rules += ('table netdev %s {\n chain egress {\n  type filter hook egress devices = { %s } priority -10; '
                          'policy drop;\n }\n}\n' % (table, devices))
            run('nft', '-f', '-', stdin=rules)

    def op_info(self):
        """Names, ports and addresses."""
        switches = []
        for switch in self.net.switches:
            ports = []
            for intf in switch.intfList():
                if not intf.link:
                    continue
                peer = intf.link.intf2 if intf is intf.link.intf1 else intf.link.intf1
                ports.append({'name': intf.name, 'number': switch.ports[intf], 'peer': peer.node.name,
                              'peer_interface': peer.name, 'capacity_bps': intf.payflow_capacity_bps,
                              'role': intf.payflow_role})
            if switch is self.net.switches[0]:
                ports.append({'name': API_PORT_NAME, 'number': topology.API_PORT, 'peer': 'root',
                              'peer_interface': API_INTERFACE, 'capacity_bps': topology.HOST_BPS, 'role': 'api'})
            switches.append({'name': switch.name, 'datapath_id': int(switch.dpid, 16), 'ports': ports})
        hosts = [{'name': host.name, 'ip': host.IP(), 'mac': host.MAC(), 'interface': host.defaultIntf().name}
                 for host in self.net.hosts]
        return {'datapath': self.datapath, 'switch_version': self.ovs.version(), 'switches': switches, 'hosts': hosts,
                'api': {'ip': topology.ip_of(topology.API_HOST_NUMBER), 'mac': topology.mac_of(topology.API_HOST_NUMBER)},
                'vswitchd_pid': self.ovs.vswitchd.pid}

    def op_drops(self):
        """Packets dropped so far, by place: class queues, meters, and ports of the switches. Places without drops are left out,
        except classes and meters."""
        drops = {}
        with self.network:
            for switch in self.net.switches:
                for device in self._devices(switch):
                    cls = None
                    for line in run('tc', '-s', 'class', 'show', 'dev', device).splitlines():
                        words = line.split()
                        if words[:2] == ['class', 'htb']:
                            cls = words[2] if words[3] == 'parent' else None
                        elif cls and 'dropped' in line:
                            queue = int(cls.split(':')[1], 16) - 1
                            drops['%s queue %d' % (device, queue)] = int(line.split('dropped ')[1].split(',')[0])
                ofctl = ['ovs-ofctl', '-O', 'OpenFlow13']
                for meter, bands in re.findall(r'meter:(\d+) .*?bands:\n((?:\d+: .*\n?)*)', run(*ofctl, 'meter-stats', switch.name)):
                    drops['%s meter %s' % (switch.name, meter)] = sum(int(n) for n in re.findall(r'packet_count:(\d+)', bands))
                text = run(*ofctl, 'dump-ports', switch.name)
                for port, received, sent in re.findall(r'port +"?([\w-]+)"?: rx .*?drop=(\d+).*?\n.*?tx .*?drop=(\d+)', text):
                    for direction, count in ('received', received), ('sent', sent):
                        # The local port is down and leads nowhere; broadcasts die there.
                        if int(count) and port != 'LOCAL':
                            drops['%s port %s %s' % (switch.name, port, direction)] = int(count)
        return drops

    def op_socket_drops(self):
        """Packets dropped so far because a program or a processor did not keep up, by place: the packet sockets of ovs-vswitchd,
        the processors' backlogs (of the whole machine), and the UDP sockets of the hosts. Places without drops are left out."""
        drops = {'ovs-vswitchd sockets': sum(int(n) for n in re.findall(r'skmem:\(.*?,d(\d+)\)', run('ss', '-0', '-n', '-m')))}
        with open('/proc/net/softnet_stat', encoding='ascii') as file:
            drops['backlog'] = sum(int(line.split()[1], 16) for line in file)
        for host in self.net.hosts:
            counters = {}
            with open('/proc/%d/net/snmp' % host.pid, encoding='ascii') as file:
                names, values = [line.split()[1:] for line in file if line.startswith('Udp: ')]
                counters.update(('Udp' + name, int(value)) for name, value in zip(names, values))
            if os.path.exists('/proc/%d/net/snmp6' % host.pid):
                with open('/proc/%d/net/snmp6' % host.pid, encoding='ascii') as file:
                    counters.update((line.split()[0], int(line.split()[1])) for line in file)
            for direction, name in ('receiving', 'RcvbufErrors'), ('sending', 'SndbufErrors'):
                drops['%s %s' % (host.name, direction)] = counters.get('Udp' + name, 0) + counters.get('Udp6' + name, 0)
        return {place: count for place, count in drops.items() if count}

    def op_watch_sockets(self, seconds):
        """Looks at the packet sockets of ovs-vswitchd for so long: the most bytes that waited in each at once, by port, kernel
        overhead included. What waits there waits for the processor."""
        most = {}
        names = dict((str(number), name) for number, name in socket.if_nameindex())
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with open('/proc/net/packet', encoding='ascii') as file:
                next(file)
                for line in file:
                    words = line.split()
                    if words[6] != '0' and words[4] in names:
                        most[names[words[4]]] = max(most.get(names[words[4]], 0), int(words[6]))
            time.sleep(0.02)
        return most

    def _devices(self, switch):
        own = [API_PORT_NAME] if switch is self.net.switches[0] else []
        return [intf.name for intf in switch.intfList() if intf.link] + own

    def op_switch_log(self, lines=200):
        """The end of ovs-vswitchd's log."""
        return {'text': self.ovs.log('ovs-vswitchd', lines)}

    # Programs

    def _argv(self, node, argv, nice):
        if nice:
            argv = ['nice', '-n', str(nice)] + argv
        if node == 'root':
            return argv
        if node not in self.net:
            raise ValueError('no host %s' % node)
        return ['mnexec', '-a', str(self.net[node].pid)] + argv

    def _resolve(self, argv):
        """The program's full path, so that a missing one is told as such and not as a failure of mnexec."""
        path = shutil.which(argv[0])
        if path is None:
            raise FileNotFoundError('no program %s' % argv[0])
        return [path] + argv[1:]

    def op_exec(self, node, argv, env=None, stdin='', timeout_s=60, nice=0):
        """Runs a program to its end; exit status and output."""
        try:
            result = subprocess.run(self._argv(node, self._resolve(argv), nice), env=dict(os.environ, **(env or {})),
                                    input=stdin.encode(), capture_output=True, timeout=timeout_s, start_new_session=True)
        except subprocess.TimeoutExpired as error:
            raise RuntimeError('%s in %s took longer than %s s; it said: %s%s' % (
                ' '.join(argv), node, timeout_s, text(error.stdout), text(error.stderr))) from None
        return {'status': result.returncode, 'stdout': text(result.stdout), 'stderr': text(result.stderr)}

    def op_spawn(self, node, argv, env=None, log_dir=None, name=None, nice=0):
        """Starts a program; its output goes to files in `log_dir`, or to files that end with the lab."""
        argv = self._argv(node, self._resolve(argv), nice)
        with self.lock:
            number = len(self.processes) + 1
            base = os.path.join(log_dir or OUTPUT_DIR, '%02d-%s-%s' % (number, node, name or 'program'))
            paths = (base + '.out', base + '.err')
            with open(paths[0], 'wb') as out, open(paths[1], 'wb') as err:
                popen = subprocess.Popen(argv, env=dict(os.environ, **(env or {})), stdin=subprocess.DEVNULL, stdout=out,
                                         stderr=err, start_new_session=True)
            self.processes[number] = Process(number, popen, *paths)
        return {'process': number, 'pid': popen.pid}

    def _process(self, number):
        with self.lock:
            if number not in self.processes:
                raise ValueError('no process %s' % number)
            return self.processes[number]

    def op_read(self, process, stream, offset=0):
        """A process's output from `offset` on."""
        found = self._process(process)
        status = found.popen.poll()     # before reading: what ended has written everything
        data, offset = found.read(stream, offset)
        return {'text': text(data), 'offset': offset, 'status': status}

    def op_wait(self, process, timeout_s=None):
        """The exit status, minus the signal number where a signal ended it; null when it still runs after `timeout_s`."""
        try:
            return {'status': self._process(process).popen.wait(timeout_s)}
        except subprocess.TimeoutExpired:
            return {'status': None}

    def op_signal(self, process, signal):
        """Sends a signal to a process that still runs; whether it did."""
        popen = self._process(process).popen
        if popen.poll() is not None:
            return {'sent': False}
        popen.send_signal(signal)
        return {'sent': True}


def text(data):
    return (data or b'').decode('utf-8', 'replace')


def serve(lab):
    writing = threading.Lock()

    def answer(request):
        number = request.pop('id', None)
        try:
            operation = getattr(lab, 'op_' + str(request.pop('op', None)), None)
            if operation is None:
                raise ValueError('unknown operation')
            reply = {'id': number, 'ok': operation(**request)}
        except (Exception, SystemExit) as error:    # every failure is told to whoever asked; Mininet exits at some
            reply = {'id': number, 'error': '%s: %s' % (type(error).__name__, error)}
        with writing:
            print(json.dumps(reply), flush=True)

    for line in sys.stdin:
        try:
            request = json.loads(line)
        except ValueError as error:
            sys.exit('lab: bad request: %s' % error)
        if request.get('op') == 'stop':
            break
        threading.Thread(target=answer, args=(request,), daemon=True).start()
    # Whatever still runs is killed by the kernel with the process namespace; waiting for anything could only delay that.
    os._exit(0)


if __name__ == '__main__':
    # An interrupt from the terminal is for the program that started the lab; the lab ends when that one does. A handler,
    # unlike ignoring, is not inherited by the programs started here.
    signal.signal(signal.SIGINT, lambda *_: None)
    isolate()
    serve(Lab())
