"""Documents that an operator has signed: quotes, the terms of accounts, receipts."""

from __future__ import annotations

import json

from . import ed25519

QUOTE = "payflow-quote"


def canonical(value) -> bytes:
    """The one way to write a document as bytes (RFC 8785). Only integers that every reader keeps exact are in one."""
    _check(value)
    return _ordered(value).encode()


def _check(value) -> None:
    if isinstance(value, float):
        raise ValueError(f"{value} is not an integer")
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**53:
        raise ValueError(f"{value} is not kept exact by every reader")
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _check(item)


def _ordered(value) -> str:
    if isinstance(value, dict):
        # By UTF-16 code units, as the RFC says.
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        members = (f"{_ordered(name)}:{_ordered(value[name])}" for name in names)
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_ordered, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def is_signed(signed: dict, domain: str, operator_key: str) -> bool:
    """Whether the operator has signed exactly this document, as what it is taken for."""
    if signed.get("signer") != operator_key:
        return False
    message = b"payflow-document-v1\0" + domain.encode() + b"\0" + canonical(signed["document"])
    return ed25519.verify(bytes.fromhex(operator_key), message, bytes.fromhex(signed["signature"]))
