# SPDX-License-Identifier: Apache-2.0
"""An authority and certificates of its own, made by openssl(1), for tests of TLS."""

import contextlib
import pathlib
import subprocess
import tempfile


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def certificate(folder, name, subject):
    (folder / "ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl(folder, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", "csr", "-subj", subject)
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext"]
    openssl(folder, "x509", "-req", "-in", "csr", "-out", f"{name}.pem", *signed)


class Certified:
    """A folder with an authority and certificates, and the settings for busd."""

    def __init__(self, folder):
        self.folder = folder
        openssl(
            folder,
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key"),
            *("-out", "ca.pem", "-subj", "/CN=an authority", "-days", "2"),
        )
        certificate(folder, "server", "/CN=localhost")
        certificate(folder, "anna", "/O=there/CN=anna")

    def settings(self, **more):
        names = {"certificate": "server.pem", "key": "server.key", "ca": "ca.pem"}
        return {**{f"ssl.{n}.location": self.folder / p for n, p in names.items()}, **more}


@contextlib.contextmanager
def folder():
    """Where certificates are, for the time of a test."""
    with tempfile.TemporaryDirectory(prefix="shmbus-tls-") as name:
        yield pathlib.Path(name)
