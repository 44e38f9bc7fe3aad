#!/bin/sh
# Installs the controllers that `make bench-packet-in` compares with: ovs-testcontroller (Debian package), and os-ken
# (PyPI) in an environment of its own. What cannot be installed is left out of the comparison.
# Usage: comparison.sh OS_KEN_DIR
set -eu

PATH="$PATH:/usr/sbin:/sbin"
OS_KEN=os-ken==4.2.2

if [ "$(id -u)" -eq 0 ]; then sudo=""; else sudo="sudo"; fi
if ! command -v ovs-testcontroller >/dev/null 2>&1; then
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends openvswitch-testcontroller ||
        echo "comparison: ovs-testcontroller is left out" >&2
fi
if [ ! -x "$1/bin/python" ] || ! "$1/bin/python" -c 'import os_ken' 2>/dev/null; then
    python3 -m venv "$1" && "$1/bin/pip" install -q "$OS_KEN" || echo "comparison: os-ken is left out" >&2
fi
