# SPDX-License-Identifier: Apache-2.0
"""A client of Kafka's protocol in a few lines: some requests in old versions, and frames by hand.

tests/interop has one that knows every version; this one is for what happens around the messages."""

import contextlib
import socket
import struct

import harness

PRODUCE, FETCH, METADATA, FIND_COORDINATOR, API_VERSIONS, DESCRIBE_CLUSTER = 0, 1, 3, 10, 18, 60


def text(value):
    raw = value.encode()
    return struct.pack(">h", len(raw)) + raw


def _crc_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


_CRC = _crc_table()


def crc32c(raw):
    crc = 0xFFFFFFFF
    for byte in raw:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def varint(n):
    n = n << 1 ^ n >> 63
    raw = bytearray()
    while n > 0x7F:
        raw.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(raw) + bytes([n])


def batch(values):
    """A batch of records without keys."""
    records = b""
    for i, value in enumerate(values):
        record = b"\0\0" + varint(i) + varint(-1) + varint(len(value)) + value + varint(0)
        records += varint(len(record)) + record
    n = len(values)
    rest = struct.pack(">hiqqqhii", 0, n - 1, 1000, 1000, -1, -1, -1, n) + records
    return struct.pack(">qiibI", 0, 9 + len(rest), -1, 2, crc32c(rest)) + rest


def produce(topic, records, acks=-1, partition=0):
    """The body of Produce 3."""
    body = struct.pack(">hhii", -1, acks, 30000, 1) + text(topic)
    return body + struct.pack(">iii", 1, partition, len(records)) + records


def fetch(topic, offset, wait_ms, most=1 << 20, partition=0):
    """The body of Fetch 4."""
    body = struct.pack(">iiiibi", -1, wait_ms, 1, most, 0, 1) + text(topic)
    return body + struct.pack(">iiqi", 1, partition, offset, most)


class Answer:
    """Takes the fields of an answer one by one."""

    def __init__(self, raw):
        self.raw, self.at = raw, 0
        self.correlation = self.number("i")

    def number(self, form):
        (value,) = struct.unpack_from(">" + form, self.raw, self.at)
        self.at += struct.calcsize(">" + form)
        return value

    def bytes(self, form="h"):
        n = max(self.number(form), 0)
        self.at += n
        return self.raw[self.at - n : self.at]

    def text(self):
        return self.bytes().decode()

    def compact_text(self):
        n = self.number("B") - 1
        self.at += max(n, 0)
        return self.raw[self.at - max(n, 0) : self.at].decode()


class Client:
    def __init__(self, address, receive_bytes=None):
        host, _ = address
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.socket.settimeout(harness.PATIENCE_S)
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.connect(address)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        """Ends the connection as a crash of the machine's network would."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def name(self):
        """As busd's trace names this side."""
        host, port = self.socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @staticmethod
    def frame(key, version, body, correlation=1, name="test"):
        raw = struct.pack(">hhi", key, version, correlation) + text(name) + body
        return struct.pack(">i", len(raw)) + raw

    def send(self, key, version, body, correlation=1):
        self.socket.sendall(self.frame(key, version, body, correlation))

    def take(self, n):
        raw = bytearray()
        while len(raw) < n:
            piece = self.socket.recv(n - len(raw))
            if not piece:
                raise ConnectionError("busd hung up")
            raw += piece
        return bytes(raw)

    def receive(self):
        (n,) = struct.unpack(">i", self.take(4))
        return Answer(self.take(n))

    def ask(self, key, version, body):
        self.send(key, version, body)
        return self.receive()

    def closed(self):
        """Whether busd ends the connection before it says another thing: waits for either."""
        try:
            return not self.socket.recv(1)
        except ConnectionResetError:
            return True

    def rest(self):
        """How many bytes come until busd ends the connection."""
        n = 0
        with contextlib.suppress(ConnectionResetError):
            while piece := self.socket.recv(1 << 16):
                n += len(piece)
        return n

    # ---- requests ----

    def api_versions(self, name="test"):
        """The keys that are served."""
        self.socket.sendall(self.frame(API_VERSIONS, 0, b"", name=name))
        answer = self.receive()
        assert answer.number("h") == 0
        return [(answer.number("h"), answer.at, answer.number("i"))[0] for _ in range(answer.number("i"))]

    def brokers(self):
        """Node, host and port of each, as Metadata tells them."""
        answer = self.ask(METADATA, 1, struct.pack(">i", 0))
        brokers = []
        for _ in range(answer.number("i")):
            brokers.append((answer.number("i"), answer.text(), answer.number("i")))
            answer.text()  # rack
        return brokers

    def coordinator(self, group):
        answer = self.ask(FIND_COORDINATOR, 0, text(group))
        assert answer.number("h") == 0
        return answer.number("i"), answer.text(), answer.number("i")

    def described_brokers(self):
        """The same by DescribeCluster."""
        answer = self.ask(DESCRIBE_CLUSTER, 0, b"\0" + b"\0" + b"\0")
        answer.number("b")  # tags of the header
        answer.number("i")  # throttled
        assert answer.number("h") == 0
        answer.compact_text()  # error
        answer.compact_text()  # cluster
        answer.number("i")  # controller
        brokers = []
        for _ in range(answer.number("B") - 1):
            brokers.append((answer.number("i"), answer.compact_text(), answer.number("i")))
            answer.compact_text()  # rack
            answer.number("b")  # tags
        return brokers

    def produce(self, topic, records):
        """Appends a batch with acks=1; its offset."""
        answer = self.ask(PRODUCE, 3, produce(topic, records, acks=1))
        assert answer.number("i") == 1 and answer.text() == topic and answer.number("i") == 1
        partition, error, offset = (answer.number(form) for form in "ihq")
        assert (partition, error) == (0, 0), error
        return offset

    def fetch(self, topic, offset):
        """The answer to a Fetch that does not wait, as it came."""
        return self.ask(FETCH, 4, fetch(topic, offset, 0, most=1 << 30))
