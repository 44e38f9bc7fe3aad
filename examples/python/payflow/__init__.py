"""Guaranteed bandwidth, one flow at a time, from Python: for hosts of a Mininet network and for notebooks.

>>> import payflow
>>> key = payflow.Key.load_or_create("h1.key")
>>> host = payflow.Client("http://10.0.0.254:8080", key)
>>> account = host.open_account()
>>> host.fund_from_faucet(account)
>>> quote = host.quote("10.0.0.4", udp=5201, rate_bps=10_000_000, duration_s=60)
>>> reservation = host.buy(quote, account)

Needs nothing but the standard library. Amounts are whole nanos (0.000000001 IOTA), rates bits per second of whole frames.
"""

from .client import (
    Client,
    NoAnswer,
    NotDecided,
    OperatorMismatch,
    PayFlowError,
    Refused,
    find_api,
)
from .keys import Key, KeyError_ as WalletError
from .vouchers import Promise, voucher

__all__ = [
    "Client",
    "Key",
    "NoAnswer",
    "NotDecided",
    "OperatorMismatch",
    "PayFlowError",
    "Promise",
    "Refused",
    "WalletError",
    "find_api",
    "voucher",
]
