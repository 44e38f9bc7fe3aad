"""HTTP message signatures (RFC 9421) in the one profile that a controller takes: who asks is the key that signs."""

from __future__ import annotations

import base64
import hashlib

LABEL = "sig1"


def content_digest(body: bytes) -> str:
    """The `Content-Digest` field of a body (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def sign(key, tag, method, path, query="", body=b"", idempotency_key=None, created=0, nonce=None):
    """The header fields that make a request one of this key, for the controller that the tag names."""
    components = [("@method", method), ("@path", path or "/"), ("@query", f"?{query}")]
    headers = {}
    if body:
        headers["Content-Digest"] = content_digest(body)
        components.append(("content-digest", headers["Content-Digest"]))
    if idempotency_key is not None:
        headers["Idempotency-Key"] = idempotency_key
        components.append(("idempotency-key", idempotency_key))
    covered = " ".join(f'"{name}"' for name, _ in components)
    parameters = f'({covered});created={created};keyid="{key.public.hex()}";alg="ed25519"'
    if nonce is not None:
        parameters += f';nonce="{nonce}"'
    parameters += f';tag="{tag}"'
    lines = [f'"{name}": {value}' for name, value in components]
    lines.append(f'"@signature-params": {parameters}')
    signature = base64.b64encode(key.sign("\n".join(lines).encode())).decode()
    headers["Signature-Input"] = f"{LABEL}={parameters}"
    headers["Signature"] = f"{LABEL}=:{signature}:"
    return headers
