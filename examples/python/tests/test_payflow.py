"""What needs no controller. What does is in `controller/tests/end_to_end/clients.rs`."""

import os
import stat
import tempfile
import threading
import unittest
from http.server import BaseHTTPRequestHandler, HTTPServer
import json

from payflow import Client, Key, NoAnswer, Promise, Refused, WalletError, ed25519, find_api, voucher
from payflow import documents, keys, signatures

# RFC 8032, section 7.1, tests 1 to 3.
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


class Signing(unittest.TestCase):
    def test_signatures_are_those_of_the_rfc(self):
        for seed, public, message, signature in VECTORS:
            seed, message = bytes.fromhex(seed), bytes.fromhex(message)
            self.assertEqual(ed25519.public_key(seed).hex(), public)
            self.assertEqual(ed25519.sign(seed, message).hex(), signature)
            self.assertEqual(Key(seed).sign(message).hex(), signature)
            self.assertTrue(ed25519.verify(bytes.fromhex(public), message, bytes.fromhex(signature)))

    def test_a_signature_of_something_else_is_none(self):
        seed, public, message, signature = (bytes.fromhex(part) for part in VECTORS[2])
        self.assertFalse(ed25519.verify(public, message + b"x", signature))
        for at in (0, 31, 32, 63):
            wrong = bytearray(signature)
            wrong[at] ^= 1
            self.assertFalse(ed25519.verify(public, message, bytes(wrong)), at)
        # The same signature with the order added is not another one (RFC 8032, section 5.1.7).
        high = int.from_bytes(signature[32:], "little") + ed25519.ORDER
        self.assertFalse(ed25519.verify(public, message, signature[:32] + high.to_bytes(32, "little")))

    def test_what_could_be_the_hash_of_a_transaction_is_not_signed(self):
        with self.assertRaises(ValueError):
            Key(bytes(32)).sign(bytes(32))

    def test_a_request_covers_what_the_profile_says(self):
        key = Key(bytes(range(32)))
        fields = signatures.sign(
            key, "payflow:ab", "POST", "/v1/quotes", body=b"{}", idempotency_key="k", created=7, nonce="n"
        )
        self.assertEqual(
            fields["Signature-Input"],
            'sig1=("@method" "@path" "@query" "content-digest" "idempotency-key");created=7;'
            f'keyid="{key.public.hex()}";alg="ed25519";nonce="n";tag="payflow:ab"',
        )
        self.assertEqual(fields["Content-Digest"], "sha-256=:RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=:")


class Keys(unittest.TestCase):
    def test_a_key_is_the_same_when_it_is_read_again_and_only_its_owner_reads_it(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "h1.key")
            key = Key.load_or_create(path)
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
            self.assertEqual(Key.load_or_create(path).public, key.public)
            os.chmod(path, 0o640)
            with self.assertRaisesRegex(WalletError, "chmod 600"):
                Key.load(path)

    def test_a_file_with_something_else_is_refused(self):
        key = Key(bytes(32)).bech32()
        with tempfile.TemporaryDirectory() as directory:
            for number, text in enumerate(["", "x", key[:-1], key[:-1] + "q" * 2, key.replace("iota", "sui"), "1" * 80]):
                path = os.path.join(directory, str(number))
                with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                    file.write(text)
                with self.assertRaises(WalletError, msg=text):
                    Key.load(path)

    def test_bech32_is_that_of_the_bip(self):
        for length in range(1, 40):
            payload = bytes(range(length))
            self.assertEqual(keys._from_bech32(keys._to_bech32(payload)), payload)


class Vouchers(unittest.TestCase):
    def test_the_bytes_are_laid_out_as_documented(self):
        promise = Promise("c1", "ab" * 32, 1, 2, 3)
        self.assertEqual(
            promise.encode(),
            b"payflow-voucher-v1\0" + b"\x02c1" + b"\xab" * 32 + bytes(7) + b"\1" + bytes(7) + b"\2" + bytes(7) + b"\3",
        )
        self.assertEqual(len(voucher(Key(bytes(32)), promise)), -(-(19 + 3 + 32 + 24 + 32 + 64) // 3) * 4)


class Documents(unittest.TestCase):
    def test_documents_are_written_as_rfc_8785_says(self):
        document = {"b": [1, True, None, "\u20ac\n"], "a": {}, "\U0001f600": 1, "\ufb33": 2}
        self.assertEqual(
            documents.canonical(document).decode(), '{"a":{},"b":[1,true,null,"€\\n"],"\U0001f600":1,"\ufb33":2}'
        )
        for wrong in (0.5, 2**53, [1.0]):
            with self.assertRaises(ValueError):
                documents.canonical({"x": wrong})


class Finding(unittest.TestCase):
    def test_the_environment_goes_before_the_gateway(self):
        self.assertEqual(find_api({"PAYFLOW_API": "http://x:1"}), "http://x:1")
        with tempfile.NamedTemporaryFile("w") as routes:
            routes.write("Iface Destination Gateway Flags\neth0 0000000A 00000000 0001\neth0 00000000 FE00000A 0003\n")
            routes.flush()
            self.assertEqual(find_api({}, routes.name), "http://10.0.0.254:8080")


class Talking(unittest.TestCase):
    def answers(self, status, body):
        return self.serves(lambda _: (status, {}, body))

    def serves(self, at):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                status, headers, body = at(self.path)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return Client(f"http://127.0.0.1:{server.server_port}", Key(bytes(32)))

    def test_a_refusal_is_told_with_its_name(self):
        problem = {"type": "urn:payflow:problem:no-capacity", "title": "full", "detail": "try later", "status": 409}
        with self.assertRaises(Refused) as caught:
            _ = self.answers(409, json.dumps(problem).encode()).known
        self.assertEqual(caught.exception.kind, "no-capacity")

    def test_something_else_that_answers_is_no_controller(self):
        for status, body in [(200, b"<html>"), (500, b"oops"), (302, b"{}")]:
            with self.assertRaises(NoAnswer, msg=str(status)):
                _ = self.answers(status, body).known

    def test_a_list_is_followed_to_its_end(self):
        pages = {
            "/.well-known/payflow": ({"operator_key": "00", "signature_tag": "t"}, None),
            "/v1/reservations": ({"reservations": [{"id": "r3"}, {"id": "r2"}]}, "/v1/reservations?after=r2"),
            "/v1/reservations?after=r2": ({"reservations": [{"id": "r1"}]}, None),
        }

        def at(path):
            page, following = pages[path]
            return 200, {"Link": f'<{following}>; rel="next"'} if following else {}, json.dumps(page).encode()

        self.assertEqual([it["id"] for it in self.serves(at).reservations()], ["r3", "r2", "r1"])

    def test_a_list_is_followed_to_nobody_else_and_not_in_a_circle(self):
        for following, expected in [("https://elsewhere/", [{"id": "r3"}]), ("//elsewhere/", [{"id": "r3"}]), ("/v1/reservations", None)]:
            def at(path, following=following):
                if path != "/v1/reservations":
                    return 200, {}, json.dumps({"operator_key": "00", "signature_tag": "t"}).encode()
                return 200, {"Link": f'<{following}>; rel="next"'}, json.dumps({"reservations": [{"id": "r3"}]}).encode()

            client = self.serves(at)
            if expected is None:
                with self.assertRaises(NoAnswer):
                    client.reservations()
            else:
                self.assertEqual(client.reservations(), expected)


if __name__ == "__main__":
    unittest.main()
