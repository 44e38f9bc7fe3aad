#!/bin/sh
# Installs schemathesis (PyPI), which asks a controller everything that its description has, in an environment of its own.
# Does nothing when it is there. Usage: schemathesis.sh DIR
set -eu

SCHEMATHESIS=schemathesis==4.32.5

fail() {
    echo "schemathesis: $*" >&2
    exit 1
}

[ -x "$1/bin/python" ] && "$1/bin/python" -m pip freeze 2>/dev/null | grep -qx "$SCHEMATHESIS" && exit 0
command -v python3 >/dev/null 2>&1 || fail "no python3 found; 'make setup' installs it."
python3 -m venv "$1" || fail "no environment can be made in $1; 'make setup' installs python3-venv."
"$1/bin/python" -m pip install -q "$SCHEMATHESIS" ||
    fail "pip could not install $SCHEMATHESIS; is PyPI reachable? PIP_INDEX_URL names a mirror."
