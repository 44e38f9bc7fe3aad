"""A controller's HTTP API, asked by one key."""

from __future__ import annotations

import json
import os
import re
import secrets
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from . import documents, signatures
from .vouchers import Promise, voucher

# What is larger does not come from a controller.
_MOST_BYTES = 16 * 1024 * 1024
_ANSWER_S = 15
_ROUTES = "/proc/net/route"


class PayFlowError(Exception):
    """Anything that can go wrong."""


class NoAnswer(PayFlowError):
    """Nobody knows whether the controller has got it. Asking the same again is safe."""


class NotDecided(PayFlowError):
    """A purchase is on its way. `reservation` is what is known of it; `Client.reservation` asks again."""

    def __init__(self, reservation):
        super().__init__(f"{reservation.get('id')} is {reservation.get('status')}")
        self.reservation = reservation


class Refused(PayFlowError):
    """The controller has refused, with a problem document (RFC 9457)."""

    def __init__(self, problem: dict):
        super().__init__(f"{problem.get('title')}: {problem.get('detail')}")
        self.problem = problem

    @property
    def kind(self) -> str:
        """The name of the problem, such as `no-capacity`."""
        return str(self.problem.get("type", "")).rpartition(":")[2]


class OperatorMismatch(PayFlowError):
    """Another key than the one that is trusted answers there."""


class Client:
    """What a host asks of a controller. `operator_key` is whom to trust, in hexadecimal: without it, whoever answers first. `ca` is a file
    of the certificates that an API over https is trusted by; the system's without it."""

    def __init__(self, api: str, key, operator_key: str | None = None, ca: str | None = None):
        self.api = api.rstrip("/")
        self.key = key
        # The controller is in this network; a proxy would hide from it who asks.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca)),
            _NoRedirect(),
        )
        self._known = None
        self._pinned = operator_key

    @property
    def known(self) -> dict:
        """What the controller says of itself: `operator_key`, `chain_id`, `signature_tag`, `faucet_url`, ..."""
        if self._known is None:
            known = self._ask("GET", "/.well-known/payflow", signed=False)[1]
            if self._pinned not in (None, known.get("operator_key")):
                raise OperatorMismatch(
                    f"{self.api} is run by {known.get('operator_key')}, and {self._pinned} is trusted"
                )
            self._known = known
        return self._known

    def price(self, destination: str, **wanted) -> dict:
        """What it would cost; nothing is held. Takes what `quote` takes."""
        return self._ask("POST", "/v1/prices", _body(destination, **wanted))[1]

    def quote(self, destination: str, *, max_price=None, refund_to=None, idempotency_key=None, **wanted) -> dict:
        """A signed quote, which holds the capacity for some seconds.

        Takes `udp` or `tcp` (a port or "5000-5010"), `rate_bps`, `duration_s`; and `source`, `source_port`, `start_at`,
        `class_`, `bounds` as the API has them. Nothing dearer than `max_price` nanos is quoted.
        """
        body = _body(destination, **wanted)
        body["refund_to"] = refund_to or self.key.address
        if max_price is not None:
            body["max_price"] = max_price
        key = idempotency_key or secrets.token_hex(16)
        quote = self._ask("POST", "/v1/quotes", body, idempotency_key=key)[1]
        self._expect(quote, body)
        return quote

    def change(self, reservation, *, rate_bps=None, duration_s=None, max_price=None) -> dict:
        """A quote for what is to take the place of a reservation that is active, without a packet lost: another rate, or so many
        seconds from now on. Paid like any other; what is replaced is refunded as far as it was not served."""
        said = {"rate_bps": rate_bps, "duration_s": duration_s, "max_price": max_price}
        body = {name: value for name, value in said.items() if value is not None}
        path = f"/v1/reservations/{_id(reservation)}/quotes"
        quote = self._ask("POST", path, body, idempotency_key=secrets.token_hex(16))[1]
        self._expect(quote, body)
        return quote

    def _expect(self, quote: dict, asked: dict) -> None:
        """What is paid for is what was asked for, and the operator has signed it."""
        if not documents.is_signed(quote, documents.QUOTE, self.known["operator_key"]):
            raise OperatorMismatch("the quote is not signed by the operator")
        document = quote["document"]
        said = {
            **document["flow"],
            "refund_to": document["payment"]["refund_to"],
            "duration_s": document["duration_ms"] // 1000,
        }
        names = ("destination", "protocol", "destination_port", "source", "refund_to", "duration_s")
        for name in names:
            if name in asked and str(said.get(name)).lower() != str(asked[name]).lower():
                raise PayFlowError(f"the quote says {name} = {said.get(name)}, and {asked[name]} was asked for")
        if document["rate_bps"] < asked.get("rate_bps", 0) or document["buyer"] != self.key.public.hex():
            raise PayFlowError("the quote is not for what was asked for")
        if document["payment"]["chain_id"] != self.known["chain_id"]:
            raise PayFlowError("the quote is to be paid on another chain")
        if document["payment"]["price"] > asked.get("max_price", document["payment"]["price"]):
            raise PayFlowError("the quote is dearer than was allowed")

    def open_account(self, refund_to=None) -> dict:
        """Opens a prepaid account. Whatever is paid to `address(account)` is its deposit."""
        body = {"refund_to": refund_to or self.key.address}
        return self._ask("POST", "/v1/accounts", body, idempotency_key=secrets.token_hex(16))[1]

    def account(self, account) -> dict:
        """An account as it is now."""
        return self._ask("GET", f"/v1/accounts/{_account_id(account)}")[1]

    @staticmethod
    def address(account: dict) -> str:
        """Where deposits are paid to."""
        return account["account"]["document"]["pay_to"]

    def fund_from_faucet(self, account: dict, timeout_s: float = 30) -> dict:
        """Has the faucet of a development ledger pay a deposit: 10 IOTA, worth nothing. On any other ledger, pay to
        `address(account)` with a wallet, or run `payflow account deposit`."""
        faucet = self.known.get("faucet_url")
        if not faucet:
            raise PayFlowError("this ledger has no faucet; pay to the account's address with a wallet")
        before = self.account(account)["deposited"]
        body = {"FixedAmountRequest": {"recipient": self.address(account)}}
        request = urllib.request.Request(
            f"{faucet}/gas", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            self._opener.open(request, timeout=timeout_s).read(_MOST_BYTES)
        except OSError as error:
            raise NoAnswer(f"{faucet}: {error}") from error
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            now = self.account(account)
            if now["deposited"] > before:
                return now
            time.sleep(0.2)
        raise NoAnswer("the deposit is not final yet; it counts whenever it is")

    def next_voucher(self, account, amount: int) -> str:
        """A voucher for `amount` nanos more than what is spent and held, as the controller says that is."""
        account = self.account(account)
        least = account["spent"] + account["held"] + amount
        promise = Promise(
            chain_id=self.known["chain_id"],
            operator_key=self.known["operator_key"],
            account=int(_account_id(account)[1:]),
            sequence=account["sequence"] + 1,
            amount=max(least, account["promised"]),
        )
        return voucher(self.key, promise)

    def buy(self, quote: dict, account, wait_s: int = 25) -> dict:
        """Buys what was quoted out of a prepaid account. When it returns, the flow is carried or, if it was quoted for later,
        booked. `NotDecided` and `NoAnswer` mean that it may still be: ask with `reservation`, and do not buy again."""
        document = quote["document"]
        price = document["payment"]["price"]
        payment = {"voucher": self.next_voucher(account, price)}
        return self.reserve(document["id"], payment, wait_s)

    def reserve(self, quote_id: str, payment: dict, wait_s: int = 25) -> dict:
        """Hands a payment over: `{"voucher": ...}`, `{"transaction": ...}` or `{"digest": ...}`."""
        body = {"quote": quote_id, "payment": payment}
        status, view = self._ask("POST", "/v1/reservations", body, wait_s=wait_s)
        if status == 202:
            raise NotDecided(view)
        return view

    def reservation(self, reservation) -> dict:
        """A reservation as it is now."""
        return self._ask("GET", f"/v1/reservations/{_id(reservation)}")[1]

    def reservations(self) -> list:
        """All of this key, newest first."""
        return self._list("/v1/reservations", "reservations")

    def cancel(self, reservation) -> dict:
        """Ends it; what is not served is refunded, less the fee that the quote names."""
        return self._ask("DELETE", f"/v1/reservations/{_id(reservation)}")[1]

    def wait_for(self, reservation, *statuses: str, timeout_s: float = 60, pause_s: float = 0.25) -> dict:
        """Asks until the reservation has one of these statuses."""
        deadline = time.monotonic() + timeout_s
        while True:
            view = self.reservation(reservation)
            if view["status"] in statuses:
                return view
            if time.monotonic() >= deadline:
                raise NotDecided(view)
            time.sleep(pause_s)

    def _list(self, path: str, member: str) -> list:
        """All of a list, page after page (RFC 8288)."""
        everything, seen = [], set()
        while path is not None:
            if path in seen:
                raise NoAnswer(f"{self.api}: a page of {member} leads back; is this a PayFlow controller?")
            seen.add(path)
            _, page, links = self._exchange("GET", path)
            everything += page[member]
            path = _next_page(links)
        return everything

    def _ask(self, method, path, body=None, **options):
        status, document, _ = self._exchange(method, path, body, **options)
        return status, document

    def _exchange(self, method, target, body=None, *, idempotency_key=None, wait_s=0, signed=True):
        path, _, query = target.partition("?")
        data = b"" if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if wait_s:
            headers["Prefer"] = f"wait={wait_s}"
        if signed:
            headers.update(
                signatures.sign(
                    self.key,
                    self.known["signature_tag"],
                    method,
                    # Of what is on the wire.
                    urlsplit(self.api).path + path,
                    query=query,
                    body=data,
                    idempotency_key=idempotency_key,
                    created=int(time.time()),
                    nonce=secrets.token_hex(8),
                )
            )
        request = urllib.request.Request(self.api + target, data or None, headers, method=method)
        try:
            with self._opener.open(request, timeout=_ANSWER_S + wait_s) as response:
                return response.status, _read(response), response.headers.get_all("Link", [])
        except urllib.error.HTTPError as error:
            problem = _read(error)
            if not isinstance(problem, dict) or "type" not in problem:
                raise NoAnswer(f"{self.api}: {error.code} without a problem document") from error
            raise Refused(problem) from error
        except OSError as error:
            raise NoAnswer(f"{self.api}: {error}; is the controller running, and is this its address?") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def _read(response):
    data = response.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise NoAnswer("the answer does not end; is this a PayFlow controller?")
    try:
        return json.loads(data)
    except ValueError as error:
        raise NoAnswer("the answer is not JSON; is this a PayFlow controller?") from error


def _next_page(links) -> str | None:
    """Where a list goes on: a path of the same controller, since nobody else is shown a signature because an answer says so."""
    for link in ",".join(links).split(","):
        found = re.fullmatch(r"\s*<(/(?!/)[^>]*)>\s*(;.*)", link)
        if found and re.search(r';\s*rel="?next"?\s*(;|$)', found.group(2)):
            return found.group(1)
    return None


def _id(thing) -> str:
    """The id of a document, or the id itself."""
    return thing if isinstance(thing, str) else thing["id"]


def _account_id(account) -> str:
    return account if isinstance(account, str) else account["account"]["document"]["id"]


def _body(destination, *, udp=None, tcp=None, class_=None, **wanted) -> dict:
    if (udp is None) == (tcp is None):
        raise ValueError("say udp=PORT or tcp=PORT")
    body = {
        "destination": destination,
        "protocol": "udp" if tcp is None else "tcp",
        "destination_port": udp if tcp is None else tcp,
    }
    if class_ is not None:
        body["class"] = class_
    body.update({name: value for name, value in wanted.items() if value is not None})
    return body


def find_api(environ=os.environ, routes: str = _ROUTES) -> str:
    """Where the controller is: PAYFLOW_API, or port 8080 of the default gateway. `payflow where` knows DHCP as well."""
    if environ.get("PAYFLOW_API"):
        return environ["PAYFLOW_API"]
    try:
        lines = Path(routes).read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        lines = []
    for line in lines:
        fields = line.split()
        if len(fields) > 3 and fields[1] == "00000000" and int(fields[3], 16) & 2:
            gateway = bytes.fromhex(fields[2])[::-1]
            return f"http://{'.'.join(map(str, gateway))}:8080"
    raise PayFlowError("no controller is known; set PAYFLOW_API to http://ADDRESS:PORT")
