#!/bin/sh
# Installs what PayFlow needs on Debian or Ubuntu, and nothing when all of it is there.
# Used by `make setup`, which `make demo` and `make test` run first.
set -eu

# Building: compiler, pkg-config. Emulation: Open vSwitch, Mininet, traffic and network tools.
# Tests: an environment for packages from PyPI, a browser that is driven by WebDriver, and Node.js for the tests of the pages.
PACKAGES="build-essential pkg-config curl kmod openvswitch-switch mininet iperf3 ethtool nftables
iproute2 util-linux iputils-ping procps python3-venv chromium chromium-driver"

fail() {
    echo "setup: $*" >&2
    exit 1
}

# Mininet and Open vSwitch live in sbin directories, which are not on every user's path.
PATH="$PATH:/usr/sbin:/sbin"

[ "$(uname -s)" = Linux ] || fail "PayFlow's emulation needs Linux; this is $(uname -s)."
command -v cargo >/dev/null 2>&1 || fail "no Rust toolchain found; install one from https://rustup.rs and run this again."

if command -v dpkg-query >/dev/null 2>&1; then
    missing=""
    for package in $PACKAGES; do
        status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
        [ "$status" = installed ] || missing="$missing $package"
    done
    # Any Node.js will do, wherever it came from.
    command -v node >/dev/null 2>&1 || missing="$missing nodejs"
else
    # Another distribution: fine as long as the programs themselves are there.
    for program in cc pkg-config curl ovs-vswitchd ovsdb-server ovs-ofctl mnexec iperf3 ethtool nft tc unshare ping node chromium chromedriver; do
        command -v "$program" >/dev/null 2>&1 || fail "'$program' is missing, and packages can be installed on Debian and Ubuntu only (no dpkg here). Install: $PACKAGES"
    done
    missing=""
fi

if [ "$(id -u)" -eq 0 ]; then
    sudo=""
elif command -v sudo >/dev/null 2>&1; then
    sudo="sudo"
    # Mininet needs root anyway: ask for the password once, here.
    sudo -v || fail "Mininet and Open vSwitch need root; sudo was refused."
else
    fail "Mininet and Open vSwitch need root; run as root or install sudo."
fi

if [ -n "$missing" ]; then
    command -v apt-get >/dev/null 2>&1 || fail "missing packages:$missing; apt-get was not found."
    echo "setup: installing$missing"
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get update -q
    # shellcheck disable=SC2086  # one word per package
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing ||
        fail "apt-get could not install:$missing"
fi

# The kernel datapath where the kernel has it; without the module the labs use the userspace datapath.
[ -d /sys/module/openvswitch ] || $sudo modprobe -q openvswitch 2>/dev/null || true

/usr/bin/python3 -c 'import mininet.net' 2>/dev/null ||
    fail "/usr/bin/python3 cannot import Mininet; try: apt-get install --reinstall mininet"
