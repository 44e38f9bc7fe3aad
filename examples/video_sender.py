#!/usr/bin/env python3
"""A live video stream that buys its rate when packets are lost, and goes on buying for as long as it must.

The stream cannot send again what is lost: a live picture that comes late is worth nothing. So the receiver tells its losses once a
second, as RTCP does; above --loss they are answered with a purchase, 30 seconds at a time, each bought before the one before ends.
When best effort is good enough again (which is tried after --try-again purchases), nothing more is bought.

    # on the host that watches:
    video_sender.py receive --port 5401
    # on the host that films:
    video_sender.py send --to 10.0.0.4 --port 5401 --rate 6000000

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

PACKET_BYTES = 1200
# Ethernet, IPv4 and UDP around a packet.
HEADER_BYTES = 42
BOUGHT_S = 30
# Bought so long before the one before ends.
AHEAD_S = 3


def receive(args):
    """Counts, and tells the sender once a second what has come of what it sent."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    server.bind(("0.0.0.0", args.port))
    server.settimeout(0.2)
    came = highest = 0
    told, sender = time.monotonic(), None
    while True:
        try:
            packet, sender = server.recvfrom(2048)
            came += 1
            highest = max(highest, struct.unpack("!Q", packet[:8])[0])
        except socket.timeout:
            pass
        if sender and time.monotonic() - told >= 1:
            server.sendto(struct.pack("!QQ", highest, came), sender)
            told = time.monotonic()


class Losses:
    """What of the last second was lost, from the receiver's reports."""

    def __init__(self):
        self.last = (0, 0)

    def read(self, report):
        highest, came = struct.unpack("!QQ", report)
        sent, arrived = highest - self.last[0], came - self.last[1]
        self.last = (highest, came)
        return max(0.0, 1 - arrived / sent) if sent > 0 else 0.0


class Lane:
    """The guarantee, as long as it is wanted."""

    def __init__(self, args):
        self.host = payflow.Client(payflow.find_api(), payflow.Key.load_or_create(args.key))
        self.args, self.account = args, None
        self.reservation, self.ends, self.bought = None, 0.0, 0
        self.buying = None

    def buy(self):
        """Buys while pictures go on being sent."""
        if self.buying is None or not self.buying.is_alive():
            self.buying = threading.Thread(target=self._buy, daemon=True)
            self.buying.start()

    def _buy(self):
        try:
            view, price = self._purchase()
        except payflow.PayFlowError as error:
            tell("not bought", reason=str(error))
            return
        self.reservation = view["id"]
        self.ends = view["ends_at"] / 1000
        self.bought += 1
        tell("bought", reservation=self.reservation, price_nanos=price)

    def _purchase(self):
        if self.account is None:
            self.account = self.host.open_account()["account"]["document"]["id"]
            self.host.fund_from_faucet(self.host.account(self.account))
        # A twentieth above the mean, as encoders are never exact.
        rate = self.args.rate * (PACKET_BYTES + HEADER_BYTES) // PACKET_BYTES * 21 // 20
        terms = {"duration_s": BOUGHT_S, "max_price": self.args.max_price}
        if self.ends > time.time() + 1:
            # The same flow for longer: takes the place of the first without a packet lost.
            quote = self.host.change(self.reservation, **terms)
        else:
            quote = self.host.quote(self.args.to, udp=self.args.port, rate_bps=rate, **terms)
        return self.host.buy(quote, self.account), quote["document"]["payment"]["price"]


def send(args):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((args.to, args.port))
    sock.setblocking(False)
    lane, losses = Lane(args), Losses()
    every = PACKET_BYTES * 8 / args.rate
    begun, number, tried = time.monotonic(), 0, 0.0
    wanted = False
    while time.monotonic() - begun < args.seconds:
        now = time.monotonic()
        # What could not be sent in time is not sent late.
        number = max(number, int((now - begun) / every) - 50)
        while number < (now - begun) / every:
            number += 1
            try:
                sock.send(struct.pack("!Q", number).ljust(PACKET_BYTES, b"."))
            except OSError:
                pass
        try:
            lost = losses.read(sock.recv(64))
            tell("report", loss=round(lost, 4), paid=lane.ends > time.time())
            if lost > args.loss:
                wanted = True
            elif lane.ends < time.time() or lane.bought >= args.try_again:
                wanted, lane.bought = False, 0
        except (OSError, struct.error):
            pass
        if wanted and lane.ends - time.time() < AHEAD_S and now - tried > 1:
            tried = now
            lane.buy()
        time.sleep(0.002)


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
    sender.add_argument("--rate", type=int, default=6_000_000, help="bits of video per second")
    sender.add_argument("--loss", type=float, default=0.01, help="the part of the packets that may be lost unpaid")
    sender.add_argument("--try-again", type=int, default=4, help="purchases after which best effort is tried again")
    sender.add_argument("--max-price", type=int, default=1_000_000_000, help="nanos that 30 seconds may cost")
    sender.add_argument("--seconds", type=float, default=3600)
    sender.add_argument("--key", default=os.path.expanduser("~/.payflow-video.key"))
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
