# SPDX-License-Identifier: Apache-2.0
"""A connection to a broker, over a Unix socket or TCP: requests go out, answers are checked."""

import socket
import struct

from . import codec

PATIENCE_S = 60.0


class Closed(Exception):
    """The broker has ended the connection."""


def dial(address):
    """`address`: the path of a Unix socket, or (host, port)."""
    if isinstance(address, tuple):
        return socket.create_connection(address, PATIENCE_S)
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(PATIENCE_S)
    link.connect(str(address))
    return link


class Client:
    driven = set()  # (transport, key, version) that some client has understood the answer of

    def __init__(self, address, name="wire", transport="unix"):
        self.address, self.name, self.transport = address, name, transport
        self.link = dial(address)
        self.sent = []  # (api, version, correlation id) without an answer yet
        self.correlation = 1000
        self.strange = False  # whether tagged fields that nobody knows are sent

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.link.close()

    # ---- frames ----

    def send_frame(self, raw):
        self.link.sendall(struct.pack(">i", len(raw)) + raw)

    def take(self, count):
        raw = b""
        while len(raw) < count:
            try:
                piece = self.link.recv(count - len(raw))
            except ConnectionError:
                piece = b""
            if not piece:
                raise Closed(f"after {len(raw)} of {count} bytes")
            raw += piece
        return raw

    def receive_frame(self):
        (count,) = struct.unpack(">i", self.take(4))
        codec.expect(count >= 4, f"a frame of {count} bytes")
        return self.take(count)

    def header(self, key, version, correlation, flexible):
        """Header 1, or 2; the client's name is written the old way in both."""
        name = struct.pack(">h", -1) if self.name is None else (
            struct.pack(">h", len(self.name.encode())) + self.name.encode()
        )
        return struct.pack(">hhi", key, version, correlation) + name + (b"\0" if flexible else b"")

    # ---- requests ----

    def send(self, name, version, **values):
        api = codec.APIS[name]
        self.correlation += 1
        body = codec.encode(api, version, values, self.strange and api.flexible(version))
        self.send_frame(self.header(api.key, version, self.correlation, api.flexible(version)) + body)
        self.sent.append((api, version, self.correlation))

    def receive(self):
        """The answer to the oldest request."""
        api, version, correlation = self.sent.pop(0)
        frame = self.receive_frame()
        (told,) = struct.unpack_from(">i", frame)
        codec.expect(told == correlation, f"correlation id {told}, not {correlation}")
        at = 4
        # ApiVersions is answered with header 0 in every version: who asks may not know the others.
        if api.flexible(version) and api.name != "ApiVersions":
            codec.expect(frame[4] == 0, "tags in the header of a response")
            at = 5
        try:
            values = codec.decode(api, version, frame[at:])
        except codec.Broken as broken:
            raise codec.Broken(f"{api.name} v{version}: {broken}; {frame.hex()}") from None
        Client.driven.add((self.transport, api.key, version))
        return values

    def call(self, name, version, **values):
        self.send(name, version, **values)
        return self.receive()

    def is_closed(self):
        """Waits for the end of the connection; an answer instead is a failure."""
        try:
            raw = self.take(1)
        except Closed:
            return True
        raise AssertionError(f"an answer begins with {raw.hex()}")


def missing(names, transport):
    """Versions of these APIs that no client has driven over this transport."""
    return [
        f"{name} v{version}"
        for name in names
        for version in codec.APIS[name].versions()
        if (transport, codec.APIS[name].key, version) not in Client.driven
    ]
