"""The key of a host: it buys, signs vouchers, and is the wallet that `payflow wallet` keeps, in the same file."""

from __future__ import annotations

import hashlib
import os
import secrets

from . import ed25519

try:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey as _Fast
except ImportError:  # The package is not needed.
    _Fast = None

_PREFIX = "iotaprivkey"
_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_ED25519 = 0


class KeyError_(Exception):
    """A file that holds no key, or that others may read."""


class Key:
    """An ed25519 key."""

    def __init__(self, seed: bytes):
        if len(seed) != 32:
            raise KeyError_("a key is made from 32 bytes")
        self._seed = seed
        self._fast = _Fast.from_private_bytes(seed) if _Fast else None
        self.public = ed25519.public_key(seed)

    @classmethod
    def new(cls) -> "Key":
        """A new key, from the operating system's randomness."""
        return cls(secrets.token_bytes(32))

    @classmethod
    def load(cls, path) -> "Key":
        """The key in a file of `payflow wallet`: `iotaprivkey1...`. A file that others may read is refused."""
        with open(path, encoding="ascii", errors="replace") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            if mode & 0o077:
                raise KeyError_(f"{path} may be read by others (mode {mode:03o}); run: chmod 600 {path}")
            text = file.read(256).strip()
        payload = _from_bech32(text)
        if payload is None or len(payload) != 33 or payload[0] != _ED25519:
            raise KeyError_(f"{path} holds no ed25519 key as `payflow wallet new` makes one")
        return cls(payload[1:])

    @classmethod
    def load_or_create(cls, path) -> "Key":
        """The key in a file; a new one where there is none. An existing one is never overwritten."""
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return cls.load(path)
        key = cls.new()
        with os.fdopen(file, "w", encoding="ascii") as opened:
            opened.write(key.bech32() + "\n")
            opened.flush()
            os.fsync(opened.fileno())
        return key

    def bech32(self) -> str:
        """The private key as text, as IOTA's tools write it. Whoever reads it has the money."""
        return _to_bech32(bytes([_ED25519]) + self._seed)

    def sign(self, message: bytes) -> bytes:
        """Signs bytes as they are. 32 bytes are refused: they could be the hash of a transaction."""
        if len(message) == 32:
            raise ValueError("32 bytes could be the hash of a transaction, and are not signed")
        if self._fast is not None:
            return self._fast.sign(message)
        return ed25519.sign(self._seed, message)

    @property
    def address(self) -> str:
        """The address on IOTA: BLAKE2b-256 of the public key."""
        return "0x" + hashlib.blake2b(self.public, digest_size=32).hexdigest()

    def __repr__(self) -> str:
        return f"Key({self.public.hex()})"


def _polymod(values) -> int:
    generator = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for bit in range(5):
            checksum ^= generator[bit] if (top >> bit) & 1 else 0
    return checksum


def _expanded(prefix: str):
    return [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]


def _regroup(data, wide: int, narrow: int, pad: bool):
    """Bits of groups of one width in groups of another; None where bits are left that are not zero."""
    bits = collected = 0
    out = []
    for value in data:
        collected = collected << wide | value
        bits += wide
        while bits >= narrow:
            bits -= narrow
            out.append(collected >> bits & ((1 << narrow) - 1))
        collected &= (1 << bits) - 1
    if pad and bits:
        out.append(collected << (narrow - bits))
    elif not pad and (bits >= wide or collected):
        return None
    return out


def _to_bech32(payload: bytes) -> str:
    data = _regroup(payload, 8, 5, True)
    checksum = _polymod(_expanded(_PREFIX) + data + [0] * 6) ^ 1
    data += [checksum >> 5 * (5 - i) & 31 for i in range(6)]
    return _PREFIX + "1" + "".join(_ALPHABET[value] for value in data)


def _from_bech32(text: str):
    prefix, one, encoded = text.rpartition("1")
    if one != "1" or prefix != _PREFIX or any(c not in _ALPHABET for c in encoded):
        return None
    data = [_ALPHABET.index(c) for c in encoded]
    if len(data) < 6 or _polymod(_expanded(prefix) + data) != 1:
        return None
    payload = _regroup(data[:-6], 5, 8, False)
    return None if payload is None else bytes(payload)
