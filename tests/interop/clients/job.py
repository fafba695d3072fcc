# SPDX-License-Identifier: Apache-2.0
"""What the clients in Python share: a job comes as JSON, what is told goes out as JSON, a line each."""

import base64
import json
import os
import pathlib
import sys


def decode(text):
    return None if text is None else base64.b64decode(text)


def encode(data):
    return None if data is None else base64.b64encode(data).decode()


def tell(line):
    print(json.dumps(line), flush=True)


def record(partition, offset, timestamp, key, value, headers):
    return {
        "partition": partition,
        "offset": offset,
        "timestamp": timestamp,
        "key": encode(key),
        "value": encode(value),
        "headers": [[name, encode(content)] for name, content in headers],
    }


def run(path, operations):
    """Does the job that the file holds."""
    work = json.loads(pathlib.Path(path).read_text())
    operations[work["op"]](work)
    # Without the end of the interpreter: confluent-kafka 1.7 gives None back too often, and Python
    # notices that there.
    sys.stdout.flush()
    os._exit(0)
