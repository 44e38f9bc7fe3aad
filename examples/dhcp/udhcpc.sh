#!/bin/sh
# For /etc/udhcpc/default.script of BusyBox, which is started with `udhcpc -O 224`: keeps option 224 where `payflow` looks.
# udhcpc hands over an option that it has no name for as hexadecimal digits, in opt224.
case "$1" in
bound | renew)
    if [ -n "${opt224:-}" ]; then
        mkdir -p /run/payflow
        printf '%s' "$opt224" | sed 's/../\\x&/g' | xargs -0 printf '%b\n' >/run/payflow/dhcp.new
        mv /run/payflow/dhcp.new /run/payflow/dhcp
    fi
    ;;
deconfig) rm -f /run/payflow/dhcp ;;
esac
