#!/usr/bin/env python3
"""A small device that buys a minute of bandwidth when its backlog grows, and nothing while it does not.

It stands for a camera or a box of sensors on a Raspberry Pi: readings come at a steady rate, leave as UDP packets, and the receiver
says which have arrived. While best effort carries them, nothing is paid. When what has not arrived is more than --backlog seconds of
readings, a minute at the needed rate is bought out of a prepaid account, and the rest of it given back once the backlog is gone.

    # on the host that receives:
    sensor_uplink.py receive --port 5301
    # on the device:
    sensor_uplink.py send --to 10.0.0.4 --port 5301 --rate 4000000

Needs `pip install ./examples/python`, or that directory in PYTHONPATH.
"""

import argparse
import json
import os
import socket
import struct
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "python"))
import payflow  # noqa: E402

READING_BYTES = 1000
# Ethernet, IPv4 and UDP around a reading.
HEADER_BYTES = 42
WINDOW_S = 2.0


def receive(args):
    """Answers every reading with its number."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    server.bind(("0.0.0.0", args.port))
    while True:
        reading, sender = server.recvfrom(2048)
        server.sendto(reading[:8], sender)


class Uplink:
    """Sends what is there, again until it is acknowledged."""

    def __init__(self, to, port):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect((to, port))
        self.lock = threading.Lock()
        self.waiting = {}  # number -> when it was sent last; 0 when not yet
        self.arrived = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while True:
            try:
                (number,) = struct.unpack("!Q", self.socket.recv(2048)[:8])
            except (OSError, struct.error):
                time.sleep(0.1)
                continue
            with self.lock:
                self.arrived += self.waiting.pop(number, None) is not None

    def add(self, number):
        with self.lock:
            self.waiting[number] = 0

    def backlog(self):
        with self.lock:
            return len(self.waiting)

    def send(self, budget):
        """Sends up to so many: new ones, and those that have not been acknowledged for a while."""
        now = time.monotonic()
        with self.lock:
            due = [number for number, sent in self.waiting.items() if now - sent > WINDOW_S][:budget]
            for number in due:
                self.waiting[number] = now
        for number in due:
            try:
                self.socket.send(struct.pack("!Q", number).ljust(READING_BYTES, b"."))
            except OSError:
                return


class Purse:
    """Buys one minute at a time from a prepaid account."""

    def __init__(self, args):
        key = payflow.Key.load_or_create(args.key)
        self.host = payflow.Client(payflow.find_api(), key)
        self.args = args
        self.account = None
        self.reservation = None

    def buy(self):
        if self.account is None:
            self.account = self.host.open_account()["account"]["document"]["id"]
            self.host.fund_from_faucet(self.host.account(self.account))
        # Twice what comes in, so that the backlog shrinks.
        frame_bps = 2 * self.args.rate * (READING_BYTES + HEADER_BYTES) // READING_BYTES
        quote = self.host.quote(
            self.args.to, udp=self.args.port, rate_bps=frame_bps, duration_s=60, max_price=self.args.max_price
        )
        view = self.host.buy(quote, self.account)
        self.reservation = view["id"]
        return quote["document"]["payment"]["price"]

    def is_over(self):
        return self.reservation and self.host.reservation(self.reservation)["status"] not in ("active", "suspended")

    def give_back(self):
        self.host.cancel(self.reservation)
        view = self.host.wait_for(self.reservation, "settled")
        self.reservation = None
        return view["receipt"]["document"]


def send(args):
    uplink, purse = Uplink(args.to, args.port), Purse(args)
    every = READING_BYTES * 8 / args.rate
    limit, begun, made = int(args.backlog / every), time.monotonic(), 0
    bought = tried = looked = 0.0
    last, budget = begun, 0.0
    while time.monotonic() - begun < args.seconds:
        while made < (time.monotonic() - begun) / every:
            uplink.add(made)
            made += 1
        # Best effort is tried a little faster than readings come; what is paid for, at twice of it.
        elapsed, last = time.monotonic() - last, time.monotonic()
        budget = min(budget, 50) + (2 if purse.reservation else 1.2) * elapsed / every
        uplink.send(int(budget))
        budget -= int(budget)
        now, backlog = time.monotonic(), uplink.backlog()
        try:
            if not purse.reservation and backlog > limit and now - tried > 5:
                tried = now
                price = purse.buy()
                bought = time.monotonic()
                tell("bought", reservation=purse.reservation, price_nanos=price, backlog=backlog)
            elif purse.reservation and backlog < limit // 4 and now - bought > WINDOW_S:
                receipt = purse.give_back()
                tell("given back", served_ms=receipt["served_ms"], earned=receipt["earned"], backlog=backlog)
            elif purse.reservation and now - looked > 5:
                looked = now
                if purse.is_over():
                    purse.reservation = None
        except payflow.PayFlowError as error:
            # Best effort goes on in any case; it is tried again.
            tell("not bought", reason=str(error), backlog=backlog)
        time.sleep(0.05)
    if purse.reservation:
        purse.give_back()
    tell("end", made=made, arrived=uplink.arrived, backlog=uplink.backlog())


def tell(what, **more):
    print(json.dumps({"at": round(time.time(), 1), "what": what, **more}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    receiver = commands.add_parser("receive")
    receiver.set_defaults(run=receive)
    sender = commands.add_parser("send")
    sender.set_defaults(run=send)
    for command in (receiver, sender):
        command.add_argument("--port", type=int, required=True)
    sender.add_argument("--to", required=True, help="the address of the receiver")
    sender.add_argument("--rate", type=int, default=4_000_000, help="bits of readings per second")
    sender.add_argument("--backlog", type=float, default=2.0, help="seconds of readings that may wait before bandwidth is bought")
    sender.add_argument("--max-price", type=int, default=2_000_000_000, help="nanos that a minute may cost")
    sender.add_argument("--seconds", type=float, default=3600)
    sender.add_argument("--key", default=os.path.expanduser("~/.payflow-device.key"))
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
