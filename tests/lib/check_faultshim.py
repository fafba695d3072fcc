# SPDX-License-Identifier: Apache-2.0
"""The rig itself: faultshim.so strikes when it is told to, and powerloss.py loses what it may."""

import errno
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import powerloss  # noqa: E402 (the folder has to be known first)

BUILD = os.environ.get("top_builddir", ".")
SHIM = os.path.join(BUILD, "tests/lib/.libs/faultshim.so")

failures = 0


def case(name, holds, why=""):
    global failures
    print(f"{'ok' if holds else 'not ok'} - faultshim: {name}", flush=True)
    if not holds:
        failures += 1
        print(f"#   {why}", flush=True)


def run(program, folder, **variables):
    """Runs Python text with the shim in `folder`; gives the finished process."""
    environment = dict(os.environ, LD_PRELOAD=os.path.abspath(SHIM), **variables)
    return subprocess.run(
        [sys.executable, "-c", "import os, sys, mmap\n" + program],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


WRITES = """
fd = os.open("a.log", os.O_RDWR | os.O_CREAT)
for i in range(4):
    try:
        os.pwrite(fd, b"x", i)
        os.fdatasync(fd)
        print("done", i, flush=True)
    except OSError as error:
        print("error", i, error.errno, flush=True)
"""

READS = WRITES.replace('os.pwrite(fd, b"x", i)', 'os.pread(fd, 1, i)')


def lines(finished):
    return finished.stdout.split("\n")[:-1]


def check_faults(folder):
    good = [f"done {i}" for i in range(4)]
    finished = run(WRITES, folder)
    case("does nothing unless told", lines(finished) == good, finished)
    finished = run(WRITES, folder, SHMBUS_FAULT="before:fdatasync:3:kill")
    case(
        "kills before the third fdatasync",
        finished.returncode == -signal.SIGKILL and lines(finished) == good[:2],
        finished,
    )
    finished = run(WRITES, folder, SHMBUS_FAULT="after:pwrite:2:EIO")
    case(
        "reports an error after the call",
        lines(finished) == ["done 0", f"error 1 {errno.EIO}", "done 2", "done 3"]
        and os.path.getsize(os.path.join(folder, "a.log")) == 4,
        finished,
    )
    finished = run(READS, folder, SHMBUS_FAULT="before:pread:2:EIO")
    case(
        "makes reading fail",
        lines(finished) == ["done 0", f"error 1 {errno.EIO}", "done 2", "done 3"],
        finished,
    )
    finished = run(WRITES, folder, SHMBUS_FAULT="before:pwrite:3+:ENOSPC")
    full = [f"error {i} {errno.ENOSPC}" for i in (2, 3)]
    case("goes on failing after n+", lines(finished) == good[:2] + full, finished)
    finished = run(WRITES, folder, SHMBUS_FAULT="before:pwrite@b.log:1:EIO;before:fdatasync@a.lo:4:EIO")
    case(
        "looks at the path, and knows several rules",
        lines(finished) == good[:3] + [f"error 3 {errno.EIO}"],
        finished,
    )
    armed = WRITES.replace("os.pwrite", "i == 2 and open('armed', 'w').close(); os.pwrite")
    finished = run(
        armed,
        folder,
        SHMBUS_FAULT="before:fdatasync:1:EIO",
        SHMBUS_FAULT_WHEN=os.path.join(folder, "armed"),
        SHMBUS_FAULT_LOG=os.path.join(folder, "log"),
    )
    case(
        "counts only once it is armed",
        lines(finished) == good[:2] + [f"error 2 {errno.EIO}", "done 3"],
        finished,
    )
    with open(os.path.join(folder, "log"), encoding="utf-8") as log:
        words = log.read().split()
    case(
        "tells in its log what it did",
        words[1:5] == ["before", "fdatasync", "1", "EIO"] and words[5].endswith("/a.log"),
        words,
    )
    for bad in ("before:fdatasinc:1:EIO", "fdatasync:1:EIO", "before:fsync:0:EIO", "before:fsync:1:EWHAT"):
        finished = run(WRITES, folder, SHMBUS_FAULT=bad)
        case(f"refuses the rule {bad}", finished.returncode == 2 and bad in finished.stderr, finished)


def check_stop(folder):
    environment = dict(os.environ, LD_PRELOAD=os.path.abspath(SHIM), SHMBUS_FAULT="before:fsync:1:stop")
    program = "import os; fd = os.open('s', os.O_RDWR | os.O_CREAT); os.fsync(fd); os._exit(7)"
    child = subprocess.Popen([sys.executable, "-c", program], cwd=folder, env=environment)
    _, status = os.waitpid(child.pid, os.WUNTRACED)
    stopped = os.WIFSTOPPED(status)
    os.kill(child.pid, signal.SIGCONT)
    _, status = os.waitpid(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    case("stops, and goes on when continued", stopped and child.returncode == 7, (stopped, status))


PAGES = """
fd = os.open("log", os.O_RDWR | os.O_CREAT)
os.posix_fallocate(fd, 0, 64 * 4096)
os.ftruncate(fd, 64 * 4096)
for i in range(32):
    os.pwrite(fd, b"F" * 4096, i * 4096)
os.fdatasync(fd)
os.fsync(os.open(".", os.O_RDONLY))
for i in range(32, 64):
    os.pwrite(fd, b"U" * 4096, i * 4096)
open("late", "w").write("late")
os.rename("log", "renamed")
os.write(os.open("once", os.O_WRONLY | os.O_CREAT | os.O_DSYNC), b"S" * 10)
"""


def cut(live, shadow, seed):
    """The folder that the loss leaves, and what it counted."""
    out = f"{live}.{seed}"
    shutil.rmtree(out, ignore_errors=True)
    return out, powerloss.cut(live, shadow, out, seed)


def only(pages, allowed):
    return all(page in allowed for page in pages)


def check_power_loss(folder):
    live, shadow = os.path.join(folder, "live"), os.path.join(folder, "shadow")
    os.mkdir(live)
    powerloss.begin(live, shadow)
    finished = run(PAGES, live, SHMBUS_SHADOW=shadow)
    case("the writer is not disturbed by the shadow", finished.returncode == 0, finished)
    flushed, new, none = b"F" * 4096, b"U" * 4096, bytes(4096)
    torn = [b"U" * 2048 + bytes(2048), bytes(2048) + b"U" * 2048]
    kept_all, names, mixtures, late_bytes, once = True, set(), set(), set(), set()
    for seed in range(64):
        out, _ = cut(live, shadow, seed)
        found = sorted(os.listdir(out))
        names.update(found)
        log = "renamed" if "renamed" in found else "log"
        kept_all &= ("log" in found) != ("renamed" in found)
        with open(os.path.join(out, log), "rb") as file:
            data = file.read()
        pages = [data[i : i + 4096] for i in range(0, len(data), 4096)]
        kept_all &= len(pages) == 64 and only(pages[:32], [flushed])
        kept_all &= only(pages[32:], [new, none] + torn)
        mixtures.add(tuple(pages[32:]))
        if seed % 4 == 0:
            kept_all &= only(pages[32:], [none]) and found == ["log"]
        if seed % 4 == 1:
            kept_all &= only(pages[32:], [new]) and found == ["late", "once", "renamed"]
        for name, seen in (("late", late_bytes), ("once", once)):
            if name in found:
                with open(os.path.join(out, name), "rb") as file:
                    seen.add(file.read())
        shutil.rmtree(out)
    case("flushed pages survive every loss, and one name of a rename", kept_all)
    case("unflushed pages come and go", len(mixtures) > 20, len(mixtures))
    case("an unflushed name comes and goes", names == {"log", "renamed", "late", "once"}, names)
    case(
        "an unflushed file may be empty, or zeroes, or there",
        {b"", b"late"} <= late_bytes <= {b"", b"late", bytes(4)},
        late_bytes,
    )
    case("a write with O_DSYNC is a flush", once == {b"S" * 10}, once)


MEMORY = """
fd = os.open("mapped", os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 4 * 4096)
os.fsync(fd)
os.fsync(os.open(".", os.O_RDONLY))
pages = mmap.mmap(fd, 4 * 4096)
for i in range(4):
    pages[i * 4096] = 65 + i
pages.flush(4096, 4096)
os.unlink("gone")
os.mkdir("d")
open("d/inside", "w").close()
os.fsync(os.open("d", os.O_RDONLY))
"""


def check_memory_and_begin(folder):
    live, shadow = os.path.join(folder, "live"), os.path.join(folder, "shadow")
    os.mkdir(live)
    with open(os.path.join(live, "gone"), "w", encoding="utf-8") as file:
        file.write("was flushed before")
    powerloss.begin(live, shadow)
    finished = run(MEMORY, live, SHMBUS_SHADOW=shadow)
    case("a mapped file can be flushed", finished.returncode == 0, finished)
    out, counts = cut(live, shadow, 0)
    with open(os.path.join(out, "mapped"), "rb") as file:
        data = file.read()
    firsts = [data[i * 4096] for i in range(4)]
    case("msync flushes the pages named, and no other", firsts == [0, 66, 0, 0], (firsts, counts))
    # The folder was flushed before the file was removed and before d was made.
    case("a removal that was not flushed is undone", os.path.exists(os.path.join(out, "gone")))
    case("a folder whose parent was not flushed vanishes", not os.path.exists(os.path.join(out, "d")))
    with open(os.path.join(out, "gone"), encoding="utf-8") as file:
        text = file.read()
    case("what begin recorded is there again", text == "was flushed before", text)
    tool = os.path.join(HERE, "powerloss.py")
    finished = subprocess.run(
        [sys.executable, tool, "cut", live, shadow, out + "b", "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    told = json.loads(finished.stdout)
    case(
        "nothing is lost when the disk was fast enough",
        told["pages_lost"] == 0 and sorted(os.listdir(out + "b")) == ["d", "mapped"],
        finished,
    )


def main():
    if not glob.glob(SHIM):
        sys.exit(f"{SHIM} is missing: make check builds it")
    for check in (check_faults, check_stop, check_power_loss, check_memory_and_begin):
        with tempfile.TemporaryDirectory() as folder:
            check(folder)
    sys.exit(1 if failures else 0)


main()
