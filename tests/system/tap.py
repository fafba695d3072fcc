# SPDX-License-Identifier: Apache-2.0
"""Cases of a system test, in the lines that tests/lib/driver.sh counts.

By hand, an argument of the test is a pattern: only cases whose name matches are run.
"""

import re
import sys
import traceback

_failed = 0


def case(name, passed, detail=None):
    """Tells one case; `detail` is shown when it failed."""
    global _failed
    print(("ok - " if passed else "not ok - ") + name, flush=True)
    if not passed:
        _failed += 1
        print(f"# {detail}", flush=True)


class Skip(Exception):
    """Raised in a case that cannot be had here, with the reason."""


def skip(name, why):
    """Tells a case that cannot be had here."""
    print(f"ok - {name} # SKIP {why}", flush=True)


def run(name, function, *arguments):
    """A case that passes when the function returns; an exception but Skip is its failure."""
    if len(sys.argv) > 1 and not re.search(sys.argv[1], name):
        return
    try:
        function(*arguments)
    except Skip as why:
        skip(name, why)
    except Exception:  # a failed test must not keep the others from running
        case(name, False, traceback.format_exc().replace("\n", "\n# "))
    else:
        case(name, True)


def done():
    """Ends the program as the driver expects."""
    sys.exit(1 if _failed else 0)
