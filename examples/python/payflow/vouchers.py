"""Vouchers: how a prepaid account is spent, a signature at a time. The layout is in docs/accounts.md."""

from __future__ import annotations

import base64
from dataclasses import dataclass

_DOMAIN = b"payflow-voucher-v1\0"


@dataclass(frozen=True)
class Promise:
    """What a voucher says: so many nanos of the account may be taken **in all**."""

    chain_id: str
    operator_key: str
    account: int
    sequence: int
    amount: int

    def encode(self) -> bytes:
        """The bytes that are signed."""
        chain = self.chain_id.encode()
        if not 0 < len(chain) < 256:
            raise ValueError("the id of a chain has 1 to 255 bytes")
        operator = bytes.fromhex(self.operator_key)
        if len(operator) != 32:
            raise ValueError("the operator's key has 32 bytes")
        numbers = (self.account, self.sequence, self.amount)
        return (
            _DOMAIN
            + bytes([len(chain)])
            + chain
            + operator
            + b"".join(number.to_bytes(8, "big") for number in numbers)
        )


def voucher(key, promise: Promise) -> str:
    """The voucher, as text."""
    said = promise.encode()
    return base64.b64encode(said + key.public + key.sign(said)).decode()
