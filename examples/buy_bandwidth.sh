#!/bin/sh
# A host buys 10 Mbit/s to 10.0.0.4 for 30 seconds, looks at it, and gives it back after ten.
#
# Run it on the host that sends, in a network run by `payflow controller`:
#   PAYFLOW_API=http://10.0.0.254:8080 ./buy_bandwidth.sh 10.0.0.4 5201
#
# Needs `payflow` in PATH, and coins: on a development ledger the faucet gives them, on a real one send some to the
# address that `payflow wallet address` prints.
set -eu

to=${1:?usage: $0 DESTINATION_IP UDP_PORT}
port=${2:?usage: $0 DESTINATION_IP UDP_PORT}
export PAYFLOW_API="${PAYFLOW_API:-http://10.0.0.254:8080}"
export PAYFLOW_WALLET="${PAYFLOW_WALLET:-$HOME/.payflow/wallet.key}"

if [ ! -e "$PAYFLOW_WALLET" ]; then
    mkdir -p -m 700 "$(dirname "$PAYFLOW_WALLET")"
    payflow wallet new
    payflow wallet fund
fi
payflow wallet balance

# One step: quote, payment, reservation. Exit status 4 means that the payment is on its way and not decided yet:
# the same command again goes on with it and never pays twice.
until payflow reserve --to "$to" --udp "$port" --rate 10Mbit --for 30s --max-price 0.5; do
    [ $? -eq 4 ] || exit 1
done

# The newest reservation is the first in the list.
id=$(payflow status --json | sed -n 's/^ *"id": "\(r[0-9]*\)".*/\1/p' | head -n 1)

sleep 10
# What is unserved comes back, less the fee that the quote printed; wait for it and print the receipt.
payflow cancel "$id" --wait
payflow wallet balance
