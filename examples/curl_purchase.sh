#!/bin/sh
# A whole purchase with curl and openssl: a key, a prepaid account, a quote, a voucher, a reservation, and its end.
#
# Run it on the host that sends, in a network run by `payflow controller`:
#   PAYFLOW_API=http://10.0.0.254:8080 ./curl_purchase.sh 10.0.0.4 5201
#
# Needs curl, openssl 1.1.1 or newer, and b2sum or openssl 3 for the address. Everything that is signed is in two functions of ten
# lines. On a development ledger the faucet pays the deposit; on a real one send coins to the address that is printed, with any
# wallet, and press return.
set -eu

to=${1:?usage: $0 DESTINATION_IP UDP_PORT}
port=${2:?usage: $0 DESTINATION_IP UDP_PORT}
api=${PAYFLOW_API:-http://10.0.0.254:8080}
key=${PAYFLOW_CURL_KEY:-$HOME/.payflow/curl.pem}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The key that buys. Whoever can read it can spend the account.
if [ ! -e "$key" ]; then
    mkdir -p -m 700 "$(dirname "$key")"
    (umask 077 && openssl genpkey -algorithm ed25519 -out "$key")
fi
openssl pkey -in "$key" -pubout -outform DER | tail -c 32 >"$work/public"

hex() { od -An -v -tx1 | tr -d ' \n'; }
base64_line() { openssl base64 -A; }
bytes() { sed 's/../\\x&/g' | xargs -0 env printf '%b'; }    # of hexadecimal digits
# The first member of this name in a JSON document.
first() { grep -o "\"$1\": *\"\{0,1\}[^\",}]*" | head -n 1 | sed 's/^[^:]*: *"\{0,1\}//'; }
number() { printf '%016x' "$1" | bytes; }                     # eight bytes, big endian

# Ed25519 (RFC 8032) over a file.
sign() { openssl pkeyutl -sign -rawin -inkey "$key" -in "$1"; }

# ask METHOD PATH [BODY [IDEMPOTENCY_KEY]]: a request signed as RFC 9421 says.
ask() {
    body=${3:-}
    covered='"@method" "@path" "@query"'
    printf '"@method": %s\n"@path": %s\n"@query": ?\n' "$1" "$2" >"$work/base"
    set -- "$1" "$2" "$body" "${4:-}"
    if [ -n "$body" ]; then
        digest="sha-256=:$(printf '%s' "$body" | openssl dgst -sha256 -binary | base64_line):"
        covered="$covered \"content-digest\""
        printf '"content-digest": %s\n' "$digest" >>"$work/base"
    fi
    if [ -n "$4" ]; then
        covered="$covered \"idempotency-key\""
        printf '"idempotency-key": %s\n' "$4" >>"$work/base"
    fi
    nonce=$(openssl rand -hex 8)
    params="($covered);created=$(date +%s);keyid=\"$public\";alg=\"ed25519\";nonce=\"$nonce\";tag=\"$tag\""
    printf '"@signature-params": %s' "$params" >>"$work/base"
    signature=$(sign "$work/base" | base64_line)
    curl -sS --noproxy '*' --fail-with-body -X "$1" "$api$2" \
        -H "Signature-Input: sig1=$params" -H "Signature: sig1=:$signature:" \
        ${body:+-H "Content-Type: application/json" -H "Content-Digest: $digest" --data-binary "$body"} \
        ${4:+-H "Idempotency-Key: $4"} -H 'Prefer: wait=25' || { echo >&2; exit 1; }
}

# 1. Who is it, and what is paid on?
curl -sS --noproxy '*' --fail "$api/.well-known/payflow" >"$work/known"
public=$(hex <"$work/public")
operator=$(first operator_key <"$work/known")
chain=$(first chain_id <"$work/known")
tag=$(first signature_tag <"$work/known")
faucet=$(first faucet_url <"$work/known")
if command -v b2sum >/dev/null; then
    address=0x$(b2sum -l 256 <"$work/public" | cut -d ' ' -f 1)
else
    address=0x$(openssl dgst -blake2b512 -mac-macopt outlen:32 -binary "$work/public" | hex)
fi
echo "controller of $operator, on chain $chain; this host is $public"

# 2. An account, and a deposit.
ask POST /v1/accounts "{\"refund_to\":\"$address\"}" "$(openssl rand -hex 16)" >"$work/account"
account=$(first id <"$work/account")
pay_to=$(first pay_to <"$work/account")
if [ -n "$faucet" ]; then
    curl -sS --noproxy '*' --fail -H 'Content-Type: application/json' \
        -d "{\"FixedAmountRequest\":{\"recipient\":\"$pay_to\"}}" "$faucet/gas" >/dev/null
else
    echo "send a deposit to $pay_to, then press return"
    read -r _
fi
until ask GET "/v1/accounts/$account" >"$work/account" && [ "$(first deposited <"$work/account")" -gt 0 ]; do
    sleep 1
done
echo "account $account holds $(first deposited <"$work/account") nanos"

# 3. A quote: the capacity is held for half a minute.
ask POST /v1/quotes "{\"destination\":\"$to\",\"protocol\":\"udp\",\"destination_port\":$port,\
\"rate_bps\":10000000,\"duration_s\":30,\"max_price\":500000000,\"refund_to\":\"$address\"}" \
    "$(openssl rand -hex 16)" >"$work/quote"
quote=$(grep -o '"id": *"q[0-9]*' "$work/quote" | head -n 1 | sed 's/.*"//')
price=$(first price <"$work/quote")
echo "$quote costs $price nanos"

# 4. A voucher: all that may be taken of the account from its opening on. The layout is in docs/accounts.md.
{
    printf 'payflow-voucher-v1\0'
    printf '%02x' "${#chain}" | bytes
    printf '%s' "$chain"
    printf '%s' "$operator" | bytes
    number "${account#a}"
    number $(($(first sequence <"$work/account") + 1))
    number $(($(first spent <"$work/account") + $(first held <"$work/account") + price))
} >"$work/promise"
voucher=$({ cat "$work/promise" "$work/public" && sign "$work/promise"; } | base64_line)

# 5. The purchase. When this returns, every switch has confirmed.
ask POST /v1/reservations "{\"quote\":\"$quote\",\"payment\":{\"voucher\":\"$voucher\"}}" >"$work/reservation"
echo "r${quote#q} is $(first status <"$work/reservation")"

# 6. It is given back after some seconds; what was not served is free in the account again.
sleep "${PAYFLOW_CURL_SECONDS:-5}"
ask DELETE "/v1/reservations/r${quote#q}" >"$work/reservation"
until [ "$(first status <"$work/reservation")" = settled ]; do
    sleep 1
    ask GET "/v1/reservations/r${quote#q}" >"$work/reservation"
done
ask GET "/v1/accounts/$account" >"$work/account"
echo "r${quote#q} is settled: $(first spent <"$work/account") nanos spent, $(first free <"$work/account") free in $account"
