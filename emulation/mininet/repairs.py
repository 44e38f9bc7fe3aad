"""What Open vSwitch's userspace datapath needs before its queues mean what they say. The kernel datapath needs none of it.

1. Packet sockets: ovs-vswitchd sends for all ports through one socket whose default buffer holds about 92 frames. The
   buffers of its packet sockets are enlarged from outside. They are lost when it restarts.
2. Leaf queues: a full tail-drop queue answers ENOBUFS, and Open vSwitch then drops the rest of its batch of 32 frames, of
   whichever class. Every class gets a head-drop queue with an explicit limit.
3. Classification: `set_queue` never reaches the kernel's classes. One nftables egress map (u32 filters where the kernel
   has no egress hook, before Linux 5.16) sends DSCP marks to the class that the flow's `set_queue` names, and ARP and LLDP,
   which carry no mark, to the control class.

These belong to the emulation, never to the controller: its flows carry both the mark and the queue.
`Watcher` applies them again whenever a port's HTB root appears, vanishes or is made anew.
"""
import ctypes
import json
import os
import select
import socket
import subprocess
import threading

from private_ovs import RUN, run

# Queue number -> limit of its leaf, in frames. Queue 0 is best effort.
LEAF_LIMITS = {0: 100}
LEAF_LIMIT_DEFAULT = 5000
# DSCP -> queue number; the HTB class that Open vSwitch makes for queue q is 1:(q + 1). Everything else stays in 1:1.
DSCP_QUEUES = {48: 1, 46: 2, 34: 3}
# Without a DSCP of their own: ARP goes in the control class, LLDP in the steady one, as `set_queue` says.
ETHERTYPE_QUEUES = {0x0806: 1, 0x88CC: 2}

BUFFER_BYTES = 32 << 20
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
SYS_PIDFD_GETFD = 438
NFT_TABLE = 'payflow'
RTMGRP_TC = 8


def enlarge_packet_sockets(pid):
    """Gives every packet socket of process `pid` large buffers; how many there are."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(pid)
    count = 0
    try:
        for name in os.listdir('/proc/%d/fd' % pid):
            try:
                if not os.readlink('/proc/%d/fd/%s' % (pid, name)).startswith('socket:'):
                    continue
            except OSError:     # closed meanwhile
                continue
            fd = libc.syscall(SYS_PIDFD_GETFD, pidfd, int(name), 0)
            if fd < 0:
                error = ctypes.get_errno()
                if error == 9:  # EBADF: closed meanwhile
                    continue
                raise OSError(error, 'pidfd_getfd: ' + os.strerror(error))
            with socket.socket(fileno=fd) as sock:
                if sock.family == socket.AF_PACKET:
                    sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, BUFFER_BYTES)
                    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
                    count += 1
    finally:
        os.close(pidfd)
    return count


class Repairs:
    """Brings sockets, leaves and the egress map to what they must be. Applying twice changes nothing.

    `only` names the devices that are ours, in a network namespace that is not; without it all are.
    """

    def __init__(self, leaf_limits=None, only=None):
        self.leaf_limits = dict(LEAF_LIMITS, **(leaf_limits or {}))
        self.only = only
        self.removed = False
        self.mapped = None          # the devices that the egress map covers now
        self.egress_hook = True
        self.lock = threading.Lock()

    def apply(self):
        """What was found: the number of packet sockets and the devices with classes."""
        with self.lock:
            if self.removed:
                return None
            with open(RUN + '/ovs-vswitchd.pid', encoding='ascii') as file:
                sockets = enlarge_packet_sockets(int(file.read()))
            qdiscs = json.loads(run('tc', '-j', 'qdisc', 'show'))
            devices = sorted(q['dev'] for q in qdiscs if q['kind'] == 'htb' and q.get('root') and q['handle'] == '1:'
                             and (self.only is None or q['dev'] in self.only()))
            for device in devices:
                self._leaves(device, [q for q in qdiscs if q['dev'] == device])
            self._classify(devices)
            return {'packet_sockets': sockets, 'devices': devices, 'egress_hook': self.egress_hook}

    def remove(self):
        """Takes the egress map away, for good. The rest goes with the ports."""
        with self.lock:
            self.removed = True
            if self.mapped:
                run('nft', 'delete', 'table', 'netdev', NFT_TABLE)

    def _leaves(self, device, qdiscs):
        present = {q['parent']: (q['kind'], q.get('options', {}).get('limit')) for q in qdiscs if 'parent' in q}
        commands = []
        # `tc -j class show` prints no JSON before iproute2 6.2. A line begins: class htb 1:1 parent 1:fffe
        for line in run('tc', 'class', 'show', 'dev', device).splitlines():
            words = line.split()
            if words[:2] != ['class', 'htb'] or words[3] == 'root':
                continue
            handle = words[2]
            number = int(handle.split(':')[1], 16)
            limit = self.leaf_limits.get(number - 1, LEAF_LIMIT_DEFAULT)
            if present.get(handle) != ('pfifo_head_drop', limit):
                commands.append('qdisc replace dev %s parent %s handle %x: pfifo_head_drop limit %d' % (
                    device, handle, 0x8000 + number, limit))
        if commands:
            run('tc', '-batch', '-', stdin='\n'.join(commands) + '\n')

    def _classify(self, devices):
        if self.egress_hook and devices != self.mapped:
            rules = 'table netdev %s\ndelete table netdev %s\n' % (NFT_TABLE, NFT_TABLE)
            if devices:
                classes = ', '.join('%d : 1:%x' % (dscp, queue + 1) for dscp, queue in sorted(DSCP_QUEUES.items()))
                rules += 'table netdev %s {\n chain egress {\n  type filter hook egress devices = { %s } priority 0;\n' % (
                    NFT_TABLE, ', '.join('"%s"' % device for device in devices))
                for ethertype, queue in sorted(ETHERTYPE_QUEUES.items()):
                    rules += '  ether type 0x%04x meta priority set 1:%x accept\n' % (ethertype, queue + 1)
                rules += '  meta priority set ip dscp map { %s }\n  meta priority set ip6 dscp map { %s }\n }\n}\n' % (classes, classes)
            result = subprocess.run(['nft', '-f', '-'], input=rules, capture_output=True, text=True)
            if result.returncode == 0:
                self.mapped = devices
            else:
                self.egress_hook = False
                self.why_no_egress_hook = result.stderr.strip()
        if not self.egress_hook:
            for device in devices:
                self._filters(device)

    def _filters(self, device):
        """The same map as u32 filters. They go with the qdisc, so they are looked for each time."""
        if 'u32' in run('tc', 'filter', 'show', 'dev', device, 'parent', '1:'):
            return
        commands = []
        for dscp, queue in sorted(DSCP_QUEUES.items()):
            target = 'flowid 1:%x' % (queue + 1)
            commands.append('filter add dev %s parent 1: protocol ip prio 1 u32 match ip dsfield 0x%02x 0xfc %s' % (device, dscp << 2, target))
            # The traffic class of IPv6 lies across the first two bytes: version 4 bits, class 8 bits.
            commands.append('filter add dev %s parent 1: protocol ipv6 prio 2 u32 match u16 0x%04x 0x0fc0 at 0 %s' % (device, dscp << 6, target))
        for priority, ethertype in enumerate(sorted(ETHERTYPE_QUEUES), 3):
            commands.append('filter add dev %s parent 1: protocol 0x%04x prio %d u32 match u32 0 0 flowid 1:%x' % (
                device, ethertype, priority, ETHERTYPE_QUEUES[ethertype] + 1))
        run('tc', '-batch', '-', stdin='\n'.join(commands) + '\n')


class Watcher(threading.Thread):
    """Listens to the kernel's traffic-control messages and repairs what changed."""

    QUIET_SECONDS = 0.02    # Open vSwitch makes a root and its classes in one go; wait for the end of it

    def __init__(self, repairs, report):
        threading.Thread.__init__(self, daemon=True)
        self.repairs = repairs
        self.report = report    # called with the text of a failure
        self.netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self.netlink.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
        self.netlink.bind((0, RTMGRP_TC))

    def run(self):
        while True:
            try:
                self.netlink.recv(65536)
                while select.select([self.netlink], [], [], self.QUIET_SECONDS)[0]:
                    self.netlink.recv(65536)
            except OSError as error:
                if error.errno != 105:      # ENOBUFS: messages were lost, so something changed
                    self.report('repairs: watching stopped: %s' % error)
                    return
            try:
                self.repairs.apply()
            except (OSError, RuntimeError, ValueError) as error:
                self.report('repairs: %s' % error)
