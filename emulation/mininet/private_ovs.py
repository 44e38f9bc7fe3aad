"""An Open vSwitch of our own: its database and its switch process, at the usual place, seen by nobody outside.

The caller has already entered a mount namespace with an empty /run, so every tool finds this Open vSwitch at its default
path, and the machine's own Open vSwitch, running or not, is never touched.
"""
import os
import signal
import subprocess
import time

RUN = '/run/openvswitch'
SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema'
PRIORITY = '-20'    # userspace forwarding must not wait for traffic generators on a small machine
START_SECONDS = 20


def run(*argv, check=True, stdin=None):
    """Runs a command; its standard output. A failure raises with what it said."""
    result = subprocess.run(argv, input=stdin, capture_output=True, text=True)
    if check and result.returncode:
        raise RuntimeError('%s: exit status %d: %s' % (' '.join(argv), result.returncode, result.stderr.strip()))
    return result.stdout


def kernel_datapath():
    """Whether this kernel has the openvswitch module, loaded or loadable."""
    return os.path.isdir('/sys/module/openvswitch') or subprocess.call(
        ['modprobe', '-q', 'openvswitch'], stderr=subprocess.DEVNULL) == 0


class PrivateOvs:
    """ovsdb-server and ovs-vswitchd as children of this process."""

    def __init__(self):
        self.database = None
        self.vswitchd = None

    def start(self):
        os.makedirs(RUN, exist_ok=True)
        run('ovsdb-tool', 'create', RUN + '/conf.db', SCHEMA)
        self.database = self._daemon('ovsdb-server', ['ovsdb-server', RUN + '/conf.db', '--remote=punix:%s/db.sock' % RUN])
        self._until(lambda: os.path.exists(RUN + '/db.sock'), 'ovsdb-server')
        run('ovs-vsctl', '--no-wait', 'init')
        self._start_vswitchd()

    def restart_vswitchd(self, signum=signal.SIGKILL):
        """Ends the switch process and starts it again. Bridges and queues come back from the database; flows do not."""
        self.vswitchd.send_signal(signum)
        self.vswitchd.wait()
        self._start_vswitchd()

    def version(self):
        return run('ovs-vswitchd', '--version').splitlines()[0].split()[-1]

    def _start_vswitchd(self):
        self.vswitchd = self._daemon('ovs-vswitchd', ['nice', '-n', PRIORITY, 'ovs-vswitchd', 'unix:%s/db.sock' % RUN])
        # Waits until the switch process has taken in the whole configuration.
        run('ovs-vsctl', '--timeout=%d' % START_SECONDS, 'set', 'Open_vSwitch', '.',
            'external_ids:payflow-started=%d' % time.monotonic_ns())

    def _daemon(self, name, argv):
        argv = argv + ['--pidfile=%s/%s.pid' % (RUN, name), '--log-file=%s/%s.log' % (RUN, name), '-vconsole:off', '-vsyslog:off']
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                start_new_session=True)

    def _until(self, condition, name):
        end = time.monotonic() + START_SECONDS
        while not condition():
            if self.database.poll() is not None or time.monotonic() > end:
                raise RuntimeError('%s did not start: %s' % (name, self.log(name)))
            time.sleep(0.01)

    def log(self, name, lines=20):
        """The last lines of a daemon's log."""
        try:
            with open('%s/%s.log' % (RUN, name), encoding='utf-8', errors='replace') as file:
                return ''.join(file.readlines()[-lines:]).strip()
        except OSError:
            return 'no log'
