# SPDX-License-Identifier: Apache-2.0
"""Users, access rules, SASL and TLS, from outside: busctl as root and as nobody, frames by hand, and
kcat where it is installed.

A rule counts on every door; who may no more use a log that it has mapped is cut off from it."""

import base64
import contextlib
import hashlib
import hmac
import os
import shutil
import signal
import ssl
import struct

import certificates
import harness
import kafka_wire as wire
import tap

SASL_HANDSHAKE, SASL_AUTHENTICATE = 17, 36
PASSWORD = "pencil and paper"


@contextlib.contextmanager
def started(**settings):
    with harness.Bus(settings={**harness.SMALL, **settings}) as bus:
        bus.start()
        yield bus
        assert bus.stop() == 0, bus.busd.tail()


def as_nobody(bus, *arguments, stdin=None):
    command = [bus.program("busctl"), "--socket", bus.socket, *arguments]
    return bus.run(*command, stdin=stdin, preexec=harness.drop_root)


def refused(done, *words):
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    for word in words:
        assert word in done.stderr, (word, done.stderr)


def granted(done):
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- users and rules ----------------------------------------------------------------------------


def users_are_kept():
    with harness.Bus() as bus:
        bus.start()
        bus.busctl("user", "add", "anna", stdin=f"{PASSWORD}\n")
        bus.busctl("user", "add", "bert", "-m", "scram-sha-512", "-i", "4096", "-f", "-", stdin="x\n")
        told = [(u["user"], u["mechanism"], u["iterations"]) for u in bus.json("user", "list")]
        wanted = [("anna", f"SCRAM-SHA-{n}", 8192) for n in (256, 512)] + [("bert", "SCRAM-SHA-512", 4096)]
        assert told == wanted, told
        refused(bus.busctl("user", "add", "anna", stdin="y\n", check=False), "anna", "user passwd")
        refused(bus.busctl("user", "passwd", "carl", stdin="y\n", check=False), "carl", "user add")
        refused(bus.busctl("user", "add", "carl", stdin="\n", check=False), "empty")
        refused(bus.busctl("user", "delete", "carl", check=False), "carl", "user list")
        refused(as_nobody(bus, "user", "list"), "may not see the users")
        refused(as_nobody(bus, "user", "add", "eve", stdin="e\n"), "may not see the users")
        assert bus.stop() == 0
        held = b"".join(path.read_bytes() for path in (bus.data / "meta").iterdir())
        assert PASSWORD.encode() not in held and PASSWORD.encode().hex().encode() not in held
        assert PASSWORD not in bus.busd.err()
        bus.start()
        bus.busctl("user", "delete", "anna")
        assert [u["user"] for u in bus.json("user", "list")] == ["bert"]
        assert bus.stop() == 0


def rules_are_kept():
    with harness.Bus() as bus:
        bus.start()
        bus.busctl("acl", "add", "anna", "-t", "orders-*", "-g", "team", "-o", "read,Describe")
        bus.busctl("acl", "add", "*", "-d", "-C", "-o", "alter", "-H", "10.0.0.1")
        bus.busctl("acl", "add", "anna", "-g", "team", "-o", "read")  # once more: nothing changes
        assert bus.stop() == 0
        bus.start()
        rules = bus.json("acl", "list")
        assert len(rules) == 5, rules
        everybody = {
            **{"principal": "User:*", "permission": "deny", "operation": "alter"},
            **{"resource": "cluster", "name": "kafka-cluster", "host": "10.0.0.1"},
        }
        assert everybody in rules, rules
        concerned = bus.json("acl", "list", "-t", "orders-7")
        assert {r["name"] for r in concerned} == {"orders-*"} and len(concerned) == 2, concerned
        assert len(bus.json("acl", "remove", "anna", "-g", "team", "-o", "read")) == 1
        assert len(bus.json("acl", "remove", "-y")) == 4
        assert bus.json("acl", "list") == []
        for wrong in (["-t", "t"], ["-o", "read"], ["-t", "t", "-o", "fly"], ["-t", "", "-o", "read"]):
            assert bus.busctl("acl", "add", "anna", *wrong, check=False).returncode == 2, wrong
        assert bus.stop() == 0


def rules_bind_local_users():
    with started() as bus:
        bus.busctl("topic", "create", "t", "other")
        granted(as_nobody(bus, "produce", "t", stdin="one\n"))
        bus.busctl("acl", "add", "nobody", "-t", "t", "-o", "read")
        refused(as_nobody(bus, "produce", "t", stdin="two\n"), "User:nobody", "topic t", "access rules")
        assert granted(as_nobody(bus, "consume", "t", "-e")) == "one\n"
        bus.busctl("acl", "add", "nobody", "-d", "-t", "*", "-o", "describe")
        assert granted(as_nobody(bus, "topic", "list", "--json")) == ""
        assert "other" in bus.busctl("topic", "list").stdout
        bus.busctl("acl", "remove", "-y")
        granted(as_nobody(bus, "produce", "t", stdin="two\n"))
        refused(as_nobody(bus, "topic", "create", "mine"), "may not create topic mine")
        bus.busctl("acl", "add", "nobody", "-t", "mine*", "-o", "all")
        granted(as_nobody(bus, "topic", "create", "mine-1"))
        granted(as_nobody(bus, "topic", "delete", "-y", "mine-1"))
        refused(as_nobody(bus, "acl", "add", "nobody", "-C", "-o", "all"), "change the access rules")


def without_rules_nobody():
    with started(**{"allow.everyone.if.no.acl.found": "false", "super.users": "User:anna;User:bert"}) as bus:
        bus.busctl("topic", "create", "t")
        bus.busctl("produce", "t", stdin="one\n")
        refused(as_nobody(bus, "produce", "t", stdin="two\n"), "t")
        bus.busctl("config", "list")
        bus.busctl("acl", "add", "nobody", "-t", "t", "-o", "write")
        granted(as_nobody(bus, "produce", "t", stdin="two\n"))


def evicts(kind, operation, others):
    """A process of nobody's that has the log mapped loses it with a rule; others go on."""
    with started(**{"topic.access.direct": "*"}) as bus:
        bus.busctl("topic", "create", "t")
        ours = bus.worker(others, "t", 1, 0, "worker.pause_us=1000")
        shutil.copy(harness.BUILD / "tests/system/worker", bus.program("busctl").parent / "worker")
        path = bus.program("busctl").parent / "worker"
        command = [path, kind, bus.socket, "t", "2", "0", "worker.pause_us=1000"]
        theirs = bus.spawn(command, kind, env=bus.environment(), preexec=harness.drop_root)
        word = "read" if kind == "consume" else "ack"
        ours.told("ack", 50)
        theirs.told(word, 50)
        before = bus.generations()
        bus.busctl("acl", "add", "nobody", "-d", "-t", "t", "-o", operation)
        assert bus.generations() != before, before
        theirs.line("TOPIC_AUTHORIZATION_FAILED|may not")
        ours.told("ack", 50)
        ours.signal(signal.SIGTERM)
        assert ours.wait() == 0, ours.tail()
        sent = [line.split() for line in ours.lines()]
        done = {fields[2] for fields in sent if fields[0] == "ack"}
        seen = [line.split() for line in bus.read_all("t")]
        found = [fields[4] for fields in seen if fields[0] == "read" and fields[3] == "1"]
        assert set(found) == done and len(found) == len(done), (len(found), len(done))
        if kind == "produce":
            acked = {f[2] for f in map(str.split, theirs.lines()) if f[0] == "ack"}
            kept = [f[4] for f in seen if f[0] == "read" and f[3] == "2"]
            assert acked <= set(kept) and len(kept) == len(set(kept)), (len(acked), len(kept))


# ---- SASL, by hand ------------------------------------------------------------------------------


def handshake(client, mechanism, version=1):
    answer = client.ask(SASL_HANDSHAKE, version, wire.text(mechanism))
    code = answer.number("h")
    return code, [answer.text() for _ in range(answer.number("i"))]


def authenticate(client, token):
    """Error code, text, the other's token, and how long it counts."""
    raw = token if isinstance(token, bytes) else token.encode()
    answer = client.ask(SASL_AUTHENTICATE, 1, struct.pack(">i", len(raw)) + raw)
    return answer.number("h"), answer.bytes("h").decode(), answer.bytes("i"), answer.number("q")


def scram(client, user, password, digest="sha256"):
    """The client's side of RFC 5802, by Python's library; the signature of the server is checked."""
    mechanism = f"SCRAM-SHA-{digest[3:]}"
    assert handshake(client, mechanism)[0] == 0
    nonce = base64.b64encode(os.urandom(12)).decode()
    first = f"n={user},r={nonce}"
    code, why, challenge, _ = authenticate(client, "n,," + first)
    assert code == 0, (code, why)
    fields = dict(word.split("=", 1) for word in challenge.decode().split(","))
    assert fields["r"].startswith(nonce) and len(fields["r"]) >= len(nonce) + 20, fields
    salted = hashlib.pbkdf2_hmac(
        digest, password.encode(), base64.b64decode(fields["s"]), int(fields["i"])
    )
    key = hmac.digest(salted, b"Client Key", digest)
    plain = f"c=biws,r={fields['r']}"
    said = f"{first},{challenge.decode()},{plain}".encode()
    signature = hmac.digest(hashlib.new(digest, key).digest(), said, digest)
    proof = bytes(a ^ b for a, b in zip(key, signature))
    code, why, last, _ = authenticate(client, f"{plain},p={base64.b64encode(proof).decode()}")
    if code == 0:
        own = hmac.digest(hmac.digest(salted, b"Server Key", digest), said, digest)
        assert last == b"v=" + base64.b64encode(own), last
    return code, why


def scram_admits():
    with started(listeners="SASL_PLAINTEXT://127.0.0.1:0") as bus:
        bus.busctl("user", "add", "anna", stdin=f"{PASSWORD}\n")
        bus.busctl("topic", "create", "t")
        bus.busctl("acl", "add", "anna", "-t", "t", "-o", "read,write")
        for digest in ("sha256", "sha512"):
            with wire.Client(bus.kafka()[0]) as client:
                assert SASL_HANDSHAKE in client.api_versions()
                assert scram(client, "anna", PASSWORD, digest) == (0, "")
                client.produce("t", wire.batch([digest.encode()]))
                assert digest.encode() in client.fetch("t", 0).raw
        # Who is known may say more than strangers may, who say nothing long.
        with wire.Client(bus.kafka()[0]) as client:
            assert scram(client, "anna", PASSWORD) == (0, "")
            client.produce("t", wire.batch([os.urandom(1000) for _ in range(300)]))
        for size, fits in ((65536, True), (65537, False)):
            with wire.Client(bus.kafka()[0]) as client:
                client.socket.sendall(struct.pack(">i", size))
                if fits:
                    frame = client.frame(wire.API_VERSIONS, 0, b"")[4:]
                    client.socket.sendall(frame + bytes(size - len(frame)))
                assert client.closed()
                bus.busd.line(f"{client.name()}.*{'ApiVersions' if fits else size}")
        # Nothing but the questions of strangers before.
        with wire.Client(bus.kafka()[0]) as client:
            client.send(wire.METADATA, 1, struct.pack(">i", 0))
            assert client.closed()
        with wire.Client(bus.kafka()[0]) as client:
            assert handshake(client, "SCRAM-SHA-256")[0] == 0
            client.send(wire.METADATA, 1, struct.pack(">i", 0))
            assert client.closed()


def scram_refuses():
    with started(listeners="SASL_PLAINTEXT://127.0.0.1:0") as bus:
        bus.busctl("user", "add", "anna", stdin=f"{PASSWORD}\n")
        texts = set()
        for user, password in (("anna", "guess"), ("nobody-there", "guess")):
            with wire.Client(bus.kafka()[0]) as client:
                code, why = scram(client, user, password)
                assert code == 58, (code, why)
                texts.add(why)
                assert client.closed()
                bus.busd.line(f"{client.name()}.*invalid credentials")
        assert len(texts) == 1, texts  # it does not tell which of the two was wrong
        with wire.Client(bus.kafka()[0]) as client:
            code, offered = handshake(client, "PLAIN")
            assert (code, offered) == (33, ["SCRAM-SHA-256", "SCRAM-SHA-512"]), (code, offered)
            assert client.closed()
        with wire.Client(bus.kafka()[0]) as client:
            assert authenticate(client, b"\0anna\0" + PASSWORD.encode())[0] == 34
            assert client.closed()
        # A user who is deleted does not come in any more, with a password that was right.
        bus.busctl("user", "delete", "anna")
        with wire.Client(bus.kafka()[0]) as client:
            assert scram(client, "anna", PASSWORD)[0] == 58


# ---- TLS ----------------------------------------------------------------------------------------


class Certified(certificates.Certified):
    """With connections for wire.py."""

    def client(self, address, name=None):
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        if name:
            context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        client = wire.Client(address)
        client.socket = context.wrap_socket(client.socket, server_hostname="localhost")
        return client


@contextlib.contextmanager
def certified():
    with certificates.folder() as folder:
        yield Certified(folder)


def tls_carries():
    with certified() as c:
        plain = {"sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256", "ssl.client.auth": "requested"}
        listeners = "SSL://127.0.0.1:0,SASL_SSL://127.0.0.1:0"
        with started(listeners=listeners, **c.settings(**plain)) as bus:
            bus.busctl("user", "add", "anna", stdin=f"{PASSWORD}\n")
            bus.busctl("topic", "create", "t")
            bus.busctl("acl", "add", "User:CN=anna,O=there", "-t", "t", "-o", "write")
            open_one, asking = bus.kafka()
            # Larger than a record of TLS, and than what the sockets hold.
            values = [os.urandom(700) for _ in range(1200)]
            with c.client(open_one, "anna") as client:
                assert client.produce("t", wire.batch(values)) == 0
                assert client.fetch("t", 0).raw.count(values[0]) == 0  # it may write only
            bus.busctl("acl", "remove", "-y")
            with c.client(asking) as client:
                assert handshake(client, "PLAIN") == (0, ["SCRAM-SHA-256", "PLAIN"])
                assert authenticate(client, b"\0anna\0" + PASSWORD.encode())[0] == 0
                raw = client.fetch("t", 0).raw
                assert all(value in raw for value in values), len(raw)
            with c.client(asking) as client:
                assert scram(client, "anna", PASSWORD) == (0, "")
            # Who speaks no TLS, or shows nothing, gets nothing.
            with wire.Client(open_one) as client:
                client.send(wire.METADATA, 1, struct.pack(">i", 0))
                client.rest()
                bus.busd.line(f"{client.name()}.*TLS: ")


def certificates_are_demanded():
    with certified() as c:
        demanded = c.settings(**{"ssl.client.auth": "required"})
        # Reachable from other machines, and yet nobody unknown comes in.
        with started(listeners="SSL://0.0.0.0:0", **demanded) as bus:
            address = ("127.0.0.1", bus.kafka()[0][1])
            with c.client(address, "anna") as client:
                assert client.brokers()
            try:
                with c.client(address) as client:
                    client.brokers()
            except (ssl.SSLError, ConnectionError, OSError):
                return
            raise AssertionError("a client without a certificate was served")


def certificates_are_read_again():
    with certified() as c:
        with started(listeners="SSL://127.0.0.1:0", **c.settings()) as bus:
            def shown():
                with c.client(bus.kafka()[0]) as client:
                    return client.socket.getpeercert()["serialNumber"]

            before = shown()
            with c.client(bus.kafka()[0]) as client:
                certificates.certificate(c.folder, "server", "/CN=localhost")
                bus.busd.signal(signal.SIGHUP)
                bus.busd.line("read the certificates again")
                assert shown() != before
                assert client.brokers()  # who was there stays
            (c.folder / "server.pem").write_text("nonsense")
            kept = shown()
            bus.busd.signal(signal.SIGHUP)
            bus.busd.line("the certificates stay as they are")
            assert shown() == kept


def wrong_certificates():
    with certified() as c, harness.Bus() as bus:
        for settings, word in (
            ({}, "ssl.certificate.location"),
            ({"ssl.certificate.location": "/none"}, "/none"),
            ({"ssl.certificate.location": c.folder / "server.pem"}, "ssl.key.location"),
            (c.settings(**{"ssl.key.location": c.folder / "anna.key"}), "ssl.key.location"),
            (c.settings(**{"ssl.ca.location": "", "ssl.client.auth": "required"}), "ssl.ca.location"),
        ):
            bus.settings = {"listeners": "SSL://127.0.0.1:0", **settings}
            done = bus.run(*bus.command())
            assert done.returncode != 0 and word in done.stderr, (settings, done.stderr)


def kcat_comes_in():
    with certified() as c:
        listeners = "SASL_PLAINTEXT://127.0.0.1:0,SASL_SSL://127.0.0.1:0,SSL://127.0.0.1:0"
        mechanisms = {"sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"}
        with started(listeners=listeners, **c.settings(**mechanisms)) as bus:
            bus.busctl("user", "add", "anna", stdin=f"{PASSWORD}\n")
            bus.busctl("topic", "create", "t")
            ports = [port for _, port in bus.kafka()]
            ways = [(0, "SASL_PLAINTEXT", "SCRAM-SHA-256"), (0, "SASL_PLAINTEXT", "SCRAM-SHA-512")]
            ways += [(1, "SASL_SSL", m) for m in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")]
            ways += [(2, "SSL", None)]

            def kcat(way, password, *arguments, stdin=None):
                index, protocol, mechanism = way
                told = {"security.protocol": protocol, "ssl.ca.location": c.folder / "ca.pem"}
                if mechanism:
                    told.update({"sasl.mechanism": mechanism, "sasl.username": "anna"})
                    told["sasl.password"] = password
                command = ["kcat", "-q", "-b", f"localhost:{ports[index]}"]
                for name, value in told.items():
                    command += ["-X", f"{name}={value}"]
                return bus.run(*command, *arguments, stdin=stdin)

            for i, way in enumerate(ways):
                granted(kcat(way, PASSWORD, "-P", "-t", "t", stdin=f"{i} {way[1]} {way[2]}\n"))
            wanted = [f"{i} {way[1]} {way[2]}" for i, way in enumerate(ways)]
            for way in ways:
                assert granted(kcat(way, PASSWORD, "-C", "-t", "t", "-e")).splitlines() == wanted, way
            done = kcat(ways[0], "guess", "-L")
            assert done.returncode != 0, done.stdout
            bus.busd.line("invalid credentials")


tap.run("users are set and kept, and their passwords nowhere", users_are_kept)
tap.run("rules are set and kept", rules_are_kept)
if os.geteuid() == 0:
    tap.run("rules bind local users by their login names", rules_bind_local_users)
    tap.run("without rules nobody, where that is set", without_rules_nobody)
    tap.run("who may no more write is evicted", evicts, "produce", "write", "produce")
    tap.run("who may no more read is cut off", evicts, "consume", "read", "produce")
tap.run("SCRAM admits who knows the password", scram_admits)
tap.run("SCRAM refuses others, and does not tell why", scram_refuses)
if shutil.which("openssl"):
    tap.run("TLS carries requests, files and both kinds of names", tls_carries)
    tap.run("certificates of clients are demanded", certificates_are_demanded)
    tap.run("certificates are read again", certificates_are_read_again)
    tap.run("certificates that do not fit are named", wrong_certificates)
if shutil.which("openssl") and shutil.which("kcat"):
    tap.run("kcat comes in by SASL and TLS", kcat_comes_in)
tap.done()
