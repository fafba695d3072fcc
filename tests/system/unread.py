# SPDX-License-Identifier: Apache-2.0
"""A client that asks for file descriptors and never takes them out of its socket: busd stops
serving it at client.max.fds, others are not disturbed, and it is served on once it reads."""

import os
import re
import socket
import struct

import harness
import tap

ATTACH, READ = 1000, 1
LIMIT = 64
REQUESTS = 150
LAYOUT = int(
    re.search(r"SHM_LAYOUT_VERSION = (\d+)", (harness.SOURCE / "libbus/shm/control.h").read_text()).group(1)
)


def attach(topic, correlation):
    """A frame that asks to read partition 0."""
    name = topic.encode()
    header = struct.pack(">hhih", ATTACH, 0, correlation, 1) + b"x\0"
    body = bytes([len(name) + 1]) + name + struct.pack(">ibi", 0, READ, LAYOUT) + b"\0"
    return struct.pack(">i", len(header) + len(body)) + header + body


class Client:
    def __init__(self, bus):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(harness.PATIENCE_S)
        self.socket.connect(str(bus.socket))
        self.bytes = b""
        self.fds = self.answers = 0

    def take(self):
        """Reads a piece and closes the descriptors that come along."""
        data, control, _, _ = self.socket.recvmsg(65536, socket.CMSG_SPACE(64 * 4))
        for level, kind, payload in control:
            assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            for (fd,) in struct.iter_unpack("i", payload):
                os.close(fd)
                self.fds += 1
        assert data, "busd has closed the connection"
        self.bytes += data
        while len(self.bytes) >= 4 and len(self.bytes) - 4 >= struct.unpack(">i", self.bytes[:4])[0]:
            self.bytes = self.bytes[4 + struct.unpack(">i", self.bytes[:4])[0] :]
            self.answers += 1

    def take_what_is_there(self):
        self.socket.settimeout(0)
        try:
            while True:
                self.take()
        except BlockingIOError:
            self.socket.settimeout(harness.PATIENCE_S)


def unread():
    with harness.Bus(settings={"client.max.fds": LIMIT}) as bus:
        bus.start()
        bus.busctl("topic", "create", "t", "-p", "1")
        client = Client(bus)
        client.socket.sendall(b"".join(attach("t", number) for number in range(REQUESTS)))
        # Two turns of the loop later everything is in the socket that ever will be.
        for _ in range(2):
            bus.busctl("topic", "list")
        other = bus.worker("produce", "t", 1, 100)
        assert other.wait() == 0, other.tail()
        bus.busd.signal(harness.signal.SIGSTOP)
        bus.busd.stopped()
        client.take_what_is_there()
        assert 0 < client.fds <= LIMIT, client.fds
        bus.busd.signal(harness.signal.SIGCONT)
        while client.answers < REQUESTS:
            client.take()
        assert client.fds >= 3 * REQUESTS, client.fds
        client.socket.close()
        assert bus.stop() == 0, bus.busd.tail()


tap.run("descriptors that nobody takes are bounded", unread)
tap.done()
