"""A link with delay, jitter or loss: two veth pairs, and what the kernel's netem does between them.

    node 1 [eth] ====== [wire1a] -> mirred -> [wire1b: netem] ====== [eth] node 2        and back

The queues of a port belong to the controller, so netem has no place there; and a frame that Open vSwitch's userspace datapath
takes from a packet socket has not been through any queue of that interface. Between two devices of its own netem is in nobody's
way, whichever datapath forwards. Both devices vanish with the interfaces of the nodes.
"""
import os

from mininet.log import warn
from mininet.util import errRun

# netem forgets what is above its limit, 1000 frames if nothing is said: 12 ms of a full Gbit/s.
LIMIT_FRAMES = 20_000

_count = 0
_netem = None


def netem_words(delay=None, jitter=None, loss=None, max_queue_size=None):
    """What `tc` is told, in the words of Mininet's TCLink: a delay with its unit, a loss in per cent. Nothing where nothing is asked."""
    words = []
    if delay is not None:
        words += ['delay', str(delay)]
        if jitter is not None:
            words.append(str(jitter))
    if loss:
        if not 0 <= float(loss) <= 100:
            raise ValueError('a loss of %s per cent' % loss)
        words += ['loss', '%.5f%%' % float(loss)]
    return ['netem'] + words + ['limit', str(max_queue_size or LIMIT_FRAMES)] if words else []


def netem_works():
    """Whether this kernel has netem. Says so once where it has not, since links then neither delay nor lose anything."""
    global _netem
    if _netem is None:
        name = 'pfnetem%d' % (os.getpid() % 100_000)
        _, problem, status = errRun('ip', 'link', 'add', name, 'type', 'veth', 'peer', 'name', name + 'p')
        if not status:
            _, problem, status = errRun('tc', 'qdisc', 'add', 'dev', name, 'root', 'netem', 'delay', '1ms')
            errRun('ip', 'link', 'delete', name)
        _netem = not status
        if status:
            warn('*** this kernel has no netem (%s): delay, jitter and loss of links are left out; rates are kept\n'
                 % problem.strip().rstrip('.'))
    return _netem


def lay(node1, name1, addr1, node2, name2, addr2, qdisc):
    """Makes the interfaces `name1` and `name2` of two nodes, and between them a wire with the queueing discipline both ways."""
    global _count
    _count += 1
    inner = 'wire%da' % _count, 'wire%db' % _count
    for node, name, address, own in (node1, name1, addr1, inner[0]), (node2, name2, addr2, inner[1]):
        argv = ['ip', 'link', 'add', own, 'type', 'veth', 'peer', 'name', name]
        _run(*argv, *(['address', address] if address else []), 'netns', str(node.pid))
        path = '/proc/sys/net/ipv6/conf/%s/disable_ipv6' % own
        if os.path.exists(path):
            with open(path, 'w', encoding='ascii') as file:
                file.write('1')
        _run('ethtool', '-K', own, 'tx', 'off', 'tso', 'off', 'gso', 'off', 'gro', 'off')
        _run('tc', 'qdisc', 'add', 'dev', own, 'root', *qdisc)
        _run('tc', 'qdisc', 'add', 'dev', own, 'ingress')
        _run('ip', 'link', 'set', own, 'up')
    for source, target in inner, inner[::-1]:
        _run('tc', 'filter', 'add', 'dev', source, 'parent', 'ffff:', 'protocol', 'all', 'u32', 'match', 'u32', '0', '0',
             'action', 'mirred', 'egress', 'redirect', 'dev', target)


def _run(*argv):
    out, err, status = errRun(*argv)
    if status:
        raise RuntimeError('%s: %s' % (' '.join(argv), (out + err).strip()))
