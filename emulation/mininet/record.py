"""Runs a Mininet script without Mininet, and prints the network that it describes as JSON.

    python3 record.py SCRIPT [NAME [ARGUMENT ...]]

The script runs as what it is: code of its user, with all that its user may do. Only Mininet is replaced: `import mininet` gives
stand-ins that write down nodes and links and make none of them, so neither root nor Mininet is needed. The script is over where
it would start its network.

Without NAME the script runs as the main program, and the first network that it starts is taken, else the last that it makes,
else the one entry of its `topos`. With NAME it runs as `mn --custom` runs it, and `topos[NAME](ARGUMENT, ...)` is taken.

Answer: {"nodes": [{"name", "label", "host"}], "links": [{"ends", "bw", "capacity_bps", "delay"}], "ignored": [option]} or
{"error", "line"}. Whatever the script prints goes to standard error.
"""
import functools
import importlib.abc
import importlib.machinery
import json
import os
import sys
import traceback
import types

# Options of links that have no counterpart in a topology.
IGNORED = ('loss', 'jitter', 'max_queue_size')


class Done(BaseException):
    """The network is complete. No `except Exception` of a script catches it."""


class Refused(Exception):
    """What the script describes cannot be taken."""


class AnythingClass(type):
    def __getattr__(cls, name):
        if name.startswith('__'):
            raise AttributeError(name)
        return Anything()


class Anything(metaclass=AnythingClass):
    """Stands in for whatever of Mininet has no part in a topology: can be called, subclassed, read and looped over."""

    def __init__(self, *_args, **_kwargs):
        pass

    def __call__(self, *_args, **_kwargs):
        return Anything()

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)
        return Anything()

    def __iter__(self):
        return iter(())

    def __getitem__(self, key):
        return Anything()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False

    def __str__(self):
        return ''

    def __int__(self):
        return 0

    def __float__(self):
        return 0.0

    def __mod__(self, other):
        return self

    def __add__(self, other):
        return self

    __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __add__


class Graph:
    """Nodes and links in the order in which they were added."""

    def __init__(self):
        self.nodes = {}
        self.links = []

    def node(self, name, host, options):
        name = str(name)
        if name not in self.nodes:
            self.nodes[name] = {'name': name, 'host': host, 'label': str(options.get('label') or name)}
        return name

    def link(self, a, b, options):
        for end in (a, b):
            # A host made without the network, as for the root namespace.
            if isinstance(end, Node):
                self.node(end, not end.is_switch(), {})
        ends = [str(a), str(b)]
        for end in ends:
            if end not in self.nodes:
                raise Refused('a link of %r, which was never added' % end)
        self.links.append((ends, dict(options)))

    def answer(self):
        links = []
        ignored = set()
        for ends, options in self.links:
            link = {'ends': ends}
            for key in ('bw', 'capacity_bps'):
                try:
                    link[key] = float(options[key])
                except (KeyError, TypeError, ValueError):
                    continue
            if options.get('delay') is not None:
                link['delay'] = str(options['delay'])
            ignored.update(key for key in IGNORED if options.get(key))
            links.append(link)
        return {'nodes': list(self.nodes.values()), 'links': links, 'ignored': sorted(ignored)}


class Topo:
    """mininet.topo.Topo."""

    def __init__(self, *args, **params):
        self.graph = Graph()
        self.hopts = params.pop('hopts', {})
        self.sopts = params.pop('sopts', {})
        self.lopts = params.pop('lopts', {})
        self.build(*args, **params)

    def build(self, *args, **params):
        pass

    def addNode(self, name, isSwitch=False, **opts):
        self.graph.node(name, not isSwitch, opts)
        return name

    def addHost(self, name, **opts):
        return self.addNode(name, **(opts or self.hopts))

    def addSwitch(self, name, **opts):
        return self.addNode(name, isSwitch=True, **(opts or self.sopts))

    def addLink(self, node1, node2, port1=None, port2=None, key=None, **opts):
        self.graph.link(node1, node2, opts or self.lopts)
        return len(self.graph.links)

    def isSwitch(self, name):
        return not self.graph.nodes[str(name)]['host']

    def nodes(self, sort=True):
        return sorted(self.graph.nodes) if sort else list(self.graph.nodes)

    def switches(self, sort=True):
        return [name for name in self.nodes(sort) if self.isSwitch(name)]

    def hosts(self, sort=True):
        return [name for name in self.nodes(sort) if not self.isSwitch(name)]

    def links(self, sort=False, withKeys=False, withInfo=False):
        rows = []
        for number, (ends, options) in enumerate(self.graph.links, 1):
            rows.append(tuple(ends) + ((number,) if withKeys else ()) + ((options,) if withInfo else ()))
        return sorted(rows, key=lambda row: row[:2]) if sort else rows

    iterLinks = links

    def nodeInfo(self, name):
        return self.graph.nodes[str(name)]


class SingleSwitchTopo(Topo):
    def build(self, k=2, **_opts):
        switch = self.addSwitch('s1')
        for number in range(1, k + 1):
            self.addLink(self.addHost('h%d' % number), switch)


class MinimalTopo(SingleSwitchTopo):
    def build(self):
        SingleSwitchTopo.build(self, k=2)


class LinearTopo(Topo):
    def build(self, k=2, n=1, **_opts):
        last = None
        for i in range(1, k + 1):
            switch = self.addSwitch('s%d' % i)
            for j in range(1, n + 1):
                self.addLink(self.addHost('h%d' % i if n == 1 else 'h%ds%d' % (j, i)), switch)
            if last:
                self.addLink(switch, last)
            last = switch


class TreeTopo(Topo):
    def build(self, depth=1, fanout=2):
        self.hostNum = self.switchNum = 1
        self.addTree(depth, fanout)

    def addTree(self, depth, fanout):
        if depth <= 0:
            node = self.addHost('h%d' % self.hostNum)
            self.hostNum += 1
            return node
        node = self.addSwitch('s%d' % self.switchNum)
        self.switchNum += 1
        for _ in range(fanout):
            self.addLink(node, self.addTree(depth - 1, fanout))
        return node


class TorusTopo(Topo):
    def build(self, x, y, n=1):
        switches = {}
        for i in range(x):
            for j in range(y):
                place = '%dx%d' % (i + 1, j + 1)
                switches[i, j] = self.addSwitch('s' + place)
                for k in range(1, n + 1):
                    self.addLink(self.addHost('h' + place if n == 1 else 'h%sx%d' % (place, k)), switches[i, j])
        for i in range(x):
            for j in range(y):
                self.addLink(switches[i, j], switches[i, (j + 1) % y])
                self.addLink(switches[i, j], switches[(i + 1) % x, j])


class Node(Anything):
    """A host, switch or controller of a network."""

    def __init__(self, name, *_args, **_kwargs):
        self.name = name

    def __str__(self):
        return str(self.name)

    def is_switch(self):
        names = [kind.__name__ for kind in type(self).__mro__]
        return any(word in name for name in names for word in ('Switch', 'Bridge'))

    def start(self, *_args):
        raise Done()

    connected = waitConnected = start


class Link(Anything):
    """A link made without a network."""

    def __init__(self, node1=None, node2=None, *_args, **params):
        if isinstance(node1, Node) and isinstance(node2, Node):
            Mininet.scratch.link(node1, node2, params)


class Mininet(Anything):
    """mininet.net.Mininet, which makes nothing."""

    made = []
    # What is made without any network object.
    scratch = Graph()

    def __init__(self, topo=None, switch=None, host=None, controller=None, link=None, *_args, **_kwargs):
        Mininet.made.append(self)
        self.graph = Graph()
        self.by_name = {}
        self.controllers = []
        self.topo = topo
        # `link` may be functools.partial(TCLink, bw=10), or what `custom` makes, which is the same here.
        self.link_defaults = dict(getattr(link, 'keywords', None) or {})
        if topo:
            self.buildFromTopo(topo)

    def buildFromTopo(self, topo=None):
        for node in topo.graph.nodes.values():
            self._add(node['name'], node['host'], node)
        for ends, options in topo.graph.links:
            self.addLink(*ends, **options)

    def _add(self, name, host, options):
        self.graph.node(name, host, options)
        return self.by_name.setdefault(str(name), Node(name))

    def addHost(self, name, cls=None, **params):
        return self._add(name, True, params)

    def addSwitch(self, name, cls=None, **params):
        return self._add(name, False, params)

    def addController(self, name='c0', *_args, **_kwargs):
        controller = Node(name)
        self.by_name.setdefault(str(name), controller)
        self.controllers.append(controller)
        return controller

    def addNAT(self, name='nat0', connect=True, **params):
        node = self._add(name, True, params)
        if connect:
            self.addLink(node, self.switches[0] if connect is True else connect)
        return node

    def addLink(self, node1, node2, port1=None, port2=None, cls=None, **params):
        options = dict(self.link_defaults, **dict(getattr(cls, 'keywords', None) or {}))
        options.update(params)
        self.graph.link(node1, node2, options)
        return Anything()

    def _of_kind(self, host):
        return [self.by_name[name] for name, node in self.graph.nodes.items() if node['host'] is host]

    hosts = property(lambda self: self._of_kind(True))
    switches = property(lambda self: self._of_kind(False))

    def get(self, *names):
        found = [self.by_name[name] for name in names]
        return found[0] if len(found) == 1 else found

    getNodeByName = get

    def __getitem__(self, name):
        return self.by_name[name]

    def __contains__(self, name):
        return name in self.by_name

    def __iter__(self):
        return iter(list(self.by_name))

    def __len__(self):
        return len(self.by_name)

    def values(self):
        return list(self.by_name.values())

    def items(self):
        return list(self.by_name.items())

    def start(self, *_args, **_kwargs):
        raise Done()

    run = interact = start

    @classmethod
    def described(cls):
        """What there is to take: the network made last, else what was made without one."""
        if cls.made:
            return cls.made[-1].graph
        return cls.scratch if cls.scratch.nodes else None


def custom(cls, **params):
    return functools.partial(cls, **params)


MODULES = {
    'mininet': {},
    'mininet.topo': dict(Topo=Topo, SingleSwitchTopo=SingleSwitchTopo, SingleSwitchReversedTopo=SingleSwitchTopo,
                         MinimalTopo=MinimalTopo, LinearTopo=LinearTopo),
    'mininet.topolib': dict(TreeTopo=TreeTopo, TorusTopo=TorusTopo,
                            TreeNet=lambda depth=1, fanout=2, **kwargs: Mininet(TreeTopo(depth, fanout), **kwargs)),
    'mininet.net': dict(Mininet=Mininet, MininetWithControlNet=Mininet, VERSION='2.3.0'),
    'mininet.util': dict(custom=custom, irange=lambda start, end: range(start, end + 1), quietRun=lambda *_a, **_k: '',
                         natural=lambda text: text),
}


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives stand-ins for `mininet` and everything below it."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname.split('.')[0] != 'mininet':
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__dict__.update(MODULES.get(spec.name, {}))

        def stand_in(name):
            if name.startswith('__'):
                raise AttributeError(name)
            kind = {'mininet.node': Node, 'mininet.nodelib': Node, 'mininet.link': Link}.get(spec.name, Anything)
            return AnythingClass(name, (kind,), {})

        module.__getattr__ = stand_in
        return module

    def exec_module(self, module):
        pass


def numeric(text):
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def graph_of(topo):
    graph = getattr(topo, 'graph', None)
    if not isinstance(graph, Graph):
        raise Refused('%s is no topology' % type(topo).__name__)
    return graph


def record(path, name=None, *arguments):
    with open(path, 'rb') as file:
        code = compile(file.read(), path, 'exec')
    sys.modules['payflow_recorder'] = sys.modules['__main__']       # so that it outlives its name
    module = types.ModuleType('__main__' if name is None else 'payflow_custom')
    module.__file__ = path
    sys.modules[module.__name__] = module
    sys.argv = [path]
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    try:
        exec(code, module.__dict__)
    except (Done, SystemExit):
        pass
    if name is None and Mininet.described():
        return Mininet.described()
    topos = getattr(module, 'topos', None) or {}
    if name is None:
        if len(topos) != 1:
            known = ', '.join(sorted(map(str, topos)))
            raise Refused('it has several topologies; name one, as in script.py:NAME: ' + known if topos else
                          'it starts no Mininet object and has no `topos = {...}`')
        name = next(iter(topos))
    if name not in topos:
        raise Refused('no topology %r in `topos`; there are: %s' % (name, ', '.join(sorted(map(str, topos))) or 'none'))
    pairs = [argument.partition('=') for argument in arguments]
    try:
        return graph_of(topos[name](*[numeric(key) for key, equals, _ in pairs if not equals],
                                    **{key: numeric(value) for key, equals, value in pairs if equals}))
    except Done:
        return Mininet.described() or Graph()


def main():
    # The answer has the real standard output to itself.
    answer = os.fdopen(os.dup(1), 'w', encoding='utf-8')
    os.dup2(2, 1)
    sys.meta_path.insert(0, Finder())
    sys.setrecursionlimit(10000)
    path = sys.argv[1]
    try:
        reply = record(*sys.argv[1:]).answer()
    except Refused as error:
        reply = {'error': str(error), 'line': None}
    except BaseException as error:      # whatever a script raises is told to whoever asked
        frames = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
        line = error.lineno if isinstance(error, SyntaxError) else (frames or [None])[-1]
        reply = {'error': '%s: %s' % (type(error).__name__, error), 'line': line}
    json.dump(reply, answer)
    answer.close()
    # Threads and handlers that a script leaves behind have no say.
    sys.stderr.flush()
    os._exit(0)


if __name__ == '__main__':
    main()
