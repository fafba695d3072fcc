# SPDX-License-Identifier: Apache-2.0
"""For system tests in Python: wait for an event, never for a time."""

import time


def wait_until(predicate, seconds=30.0, what="the event"):
    """Calls predicate() until it is true and returns that value; TimeoutError when it never was."""
    deadline = time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {seconds} s")
        time.sleep(0.01)
