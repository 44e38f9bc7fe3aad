"""What schemathesis does not know of PayFlow: who asks. Loaded by it (SCHEMATHESIS_HOOKS) to ask a real controller everything that
`/openapi.json` describes.

PAYFLOW_API, PAYFLOW_SEED (hexadecimal) and PAYFLOW_TOKEN say where it is and who asks; PAYFLOW_SOURCE and PAYFLOW_DESTINATION are two
hosts that can be sold a flow.
"""

import hashlib
import json
import os
import time
import urllib.request
from urllib.parse import urlsplit

import schemathesis
from hypothesis import strategies
from requests.auth import AuthBase

import payflow
from payflow import signatures

API = os.environ["PAYFLOW_API"]
KEY = payflow.Key(bytes.fromhex(os.environ["PAYFLOW_SEED"]))
TOKEN = os.environ["PAYFLOW_TOKEN"]
HOSTS = os.environ["PAYFLOW_SOURCE"], os.environ["PAYFLOW_DESTINATION"]


def _ask(path):
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(API + path, timeout=30) as answer:
        return json.load(answer)


TAG = _ask("/.well-known/payflow")["signature_tag"]
PATHS = _ask("/openapi.json")["paths"]


def _schemes(method, path):
    """What proves who asks for this; nothing where anybody may, and where it is not described."""
    parts = path.split("/")
    for template, operations in PATHS.items():
        names = template.split("/")
        if len(names) == len(parts) and all(name in (part, "{id}", "{port}") for name, part in zip(names, parts)):
            said = operations.get(method.lower(), {}).get("security", [])
            return [name for scheme in said for name in scheme]
    return []


def _chance(one_in, *said):
    """The same for the same request, in every run."""
    digest = hashlib.sha256("\n".join(map(str, said)).encode()).digest()
    return int.from_bytes(digest[:4], "big") % one_in == 0


class Identity(AuthBase):
    """Signs what is on the wire, or shows the operator's token: as the description says, but now and then neither."""

    def __call__(self, request):
        url = urlsplit(request.url)
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        said = request.method, url.path, url.query, body
        schemes = _schemes(request.method, url.path)
        if not isinstance(body, bytes) or _chance(16, "nobody", *said):
            return request
        if "operator" in schemes and ("signature" not in schemes or _chance(4, "operator", *said)):
            request.headers["Authorization"] = f"Bearer {TOKEN}"
        elif "signature" in schemes:
            key = request.headers.get("Idempotency-Key")
            key = key.decode("latin-1") if isinstance(key, bytes) else key
            request.headers.update(
                signatures.sign(
                    KEY,
                    TAG,
                    request.method,
                    url.path,
                    query=url.query,
                    body=body,
                    idempotency_key=key,
                    created=int(time.time()),
                    nonce=os.urandom(8).hex(),
                )
            )
        return request


schemathesis.auths.GLOBAL_AUTH_STORAGE.set_from_requests(Identity())


# Without it any text is an address, and hardly any ask comes past it.
schemathesis.openapi.format("ip", strategies.sampled_from(HOSTS) | strategies.ip_addresses().map(str))


def _whole(number, modulus):
    """1.0 is an integer to JSON Schema, and not to most who read one."""
    return 1 + int(number) % modulus if isinstance(number, (int, float)) else number


@schemathesis.hook
def before_call(context, case, kwargs):
    """Two flows of three are between hosts that exist, at a rate and for a time that can be had: else nothing was ever sold."""
    body = case.body
    if not isinstance(body, dict) or case.method != "POST":
        return
    flows = body.get("quotes", [body])
    for flow in flows if isinstance(flows, list) else []:
        if isinstance(flow, dict) and "destination" in flow and not _chance(3, flow):
            flow["source"], flow["destination"] = HOSTS
            flow["protocol"] = "udp"
            flow["duration_s"] = _whole(flow.get("duration_s"), 600)
            for name in ("max_price", "start_at", "bounds", "payload"):
                if _chance(2, name, flow):
                    flow.pop(name, None)
            if "payload" not in flow:
                flow["rate_bps"] = _whole(flow.get("rate_bps", 1_000_000), 10_000_000)
            if "refund_to" in flow:
                flow["refund_to"] = KEY.address
            for name in ("source_port", "destination_port"):
                flow[name] = _whole(flow.get(name), 60_000)
    if "refund_to" in body and not _chance(3, body):
        body["refund_to"] = KEY.address
    # One key for everything would find what was asked before (422).
    if "Idempotency-Key" in (case.headers or {}) and not _chance(3, "key", body):
        case.headers["Idempotency-Key"] = hashlib.sha256(json.dumps(body).encode()).hexdigest()


@schemathesis.hook
def map_path_parameters(context, parameters):
    """Half of the ids are some that were given: the first quotes, reservations and accounts."""
    if isinstance(parameters, dict) and isinstance(parameters.get("id"), str) and _chance(2, parameters):
        path = context.operation.path
        for part, letter in (("quotes/{", "q"), ("reservations/{", "r"), ("accounts/{", "a")):
            # A stream of events does not end while the request for it is waited for.
            if part in path and not path.endswith("/events"):
                parameters["id"] = f"{letter}{1 + len(parameters['id']) % 4}"
    return parameters


@schemathesis.hook
def after_call(context, case, response):
    """What stops sales or takes a switch out of service is taken back at once: what comes later would be asked of a controller that rightly
    refuses everything (503)."""
    method, path = response.request.method, urlsplit(response.request.url).path
    if method == "PUT" and path.endswith(("/stop", "/drain")) and response.status_code == 200:
        request = urllib.request.Request(API + path, headers={"Authorization": f"Bearer {TOKEN}"}, method="DELETE")
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30).read()
