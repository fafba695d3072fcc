# SPDX-License-Identifier: Apache-2.0
"""What `make install` installs, used by programs of somebody else, renamed, and uninstalled."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

import harness
import tap

if os.environ.get("SANITIZED") == "yes":
    print("programs of others are built without a sanitizer")
    sys.exit(77)
if not shutil.which("pkg-config"):
    print("pkg-config is missing: apt-get install pkg-config")
    sys.exit(77)

RENAME = "s/^busctl$/shmbusctl/"
PAGES = ("man1/busctl.1", "man3/libbus.3", "man5/busd.conf.5", "man7/shmbus-format.7", "man7/shmbus-kafka.7", "man8/busd.8")
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-pedantic")

folder = harness.pathlib.Path(tempfile.mkdtemp(prefix="shmbus-installed-"))
build = folder / "1/2/3/build"
root = folder / "root"


def without_tests(path, names):
    """What a copy of the build folder leaves out; make wants the dependencies of the tests."""
    below = harness.pathlib.Path(path).relative_to(harness.BUILD).parts
    if not below:
        return [name for name in names if name in ("asan", "tsan", ".git", "autom4te.cache")]
    if below[0] != "tests" or ".deps" in below:
        return []
    here = harness.pathlib.Path(path)
    return [name for name in names if name != ".deps" and not (here / name).is_dir()]


def copy():
    """Copies the build folder: other tests use the real one. It finds its sources as it did."""
    shutil.copytree(harness.BUILD, build, symlinks=True, ignore=without_tests)
    makefile = (build / "Makefile").read_text()
    where = re.search(r"(?m)^srcdir = (.*)$", makefile)[1]
    there = harness.pathlib.Path(os.path.normpath(build / where))
    if there == build or os.path.isabs(where):
        return
    if not there.exists():
        there.parent.mkdir(parents=True, exist_ok=True)
        there.symlink_to(harness.SOURCE)
        return
    for path in harness.SOURCE.iterdir():
        if not (there / path.name).exists():
            (there / path.name).symlink_to(path)


def run(*arguments, env=None):
    done = subprocess.run(
        [str(a) for a in arguments], capture_output=True, text=True, env=env, timeout=10 * harness.PATIENCE_S, check=False
    )
    assert done.returncode == 0, done
    return done.stdout


def make(target):
    # A jobserver of the make around us is not ours to use.
    env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS")}
    run("make", "-C", build, target, f"DESTDIR={root}", env=env)


def one(name):
    """The installed file with this name."""
    found = [path for path in root.rglob(name) if not path.is_dir()]
    assert len(found) == 1, (name, found)
    return found[0]


def files():
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def environment():
    env = dict(os.environ)
    env["PKG_CONFIG_PATH"] = str(one("libbus.pc").parent)
    env["PKG_CONFIG_SYSROOT_DIR"] = str(root)
    env["LD_LIBRARY_PATH"] = str(one("libbus.so").parent)
    return env


def complete():
    make("install")
    for page in PAGES:
        assert one(page.split("/")[1]).match(f"man/{page}"), files()
    for name in ("bin/busctl", "sbin/busd", "lib/libbus.so"):
        assert any(path.endswith(name) for path in files()), (name, files())
    headers = {path.name for path in (harness.SOURCE / "libbus/bus").iterdir()}
    assert {path.name for path in one("bus.h").parent.iterdir()} == headers


def unit_and_completion():
    unit = one("shmbus.service").read_text()
    assert re.search(r"ExecStart=\S*/sbin/busd\b", unit), unit
    completion = root.rglob("completions/busctl")
    run("bash", "-n", next(completion))


def exported():
    text = run("nm", "-D", "--defined-only", one("libbus.so").resolve())
    names = [line.split()[2].split("@")[0] for line in text.splitlines() if line.split()[1] != "A"]
    assert names and all(name.startswith("bus_") for name in names), names


def outside(compiler, standard, language):
    env = environment()
    flags = run("pkg-config", "--cflags", "--libs", "libbus", env=env).split()
    program = folder / f"outside-{language}"
    source = harness.SOURCE / "tests/system/outside.c"
    run(*compiler, f"-std={standard}", *WARNINGS, "-x", language, source, "-x", "none", "-o", program,
        *flags, env=env)
    with harness.Bus() as bus:
        bus.start()
        said = run(program, bus.socket, "orders", env=env)
    lines = dict(line.split(" ", 1) for line in said.splitlines())
    assert lines["read"] == "hello", said
    assert lines["large"].startswith("MESSAGE_TOO_LARGE: ") and lines["large"].count("orders") == 1, said
    assert lines["grow"].startswith("INVALID_PARTITIONS: ") and lines["grow"].count("orders") == 1, said
    assert lines["delete"].startswith("OFFSET_OUT_OF_RANGE: "), said
    assert "offsets 0 to 1, not 9" in lines["delete"] and "BUS_OFFSET_END" in lines["delete"], said


def in_cxx():
    compiler = next(filter(shutil.which, ("c++", "g++", "clang++")), None)
    if not compiler:
        raise tap.Skip("no compiler for C++")
    outside([compiler], "c++11", "c++")


def uninstalled():
    make("uninstall")
    assert files() == [], files()


def renamed():
    """As configure --program-transform-name makes it: the name is in the Makefile alone."""
    makefile = build / "Makefile"
    doubled = RENAME.replace("$", "$$")
    text, count = re.subn(
        r"(?m)^program_transform_name = .*$", lambda _: f"program_transform_name = {doubled}",
        makefile.read_text())
    assert count == 1, count
    makefile.write_text(text)
    make("install")
    assert not [path for path in files() if re.search(r"/busctl(\.1)?$", path)], files()
    page = one("shmbusctl.1").read_text()
    assert "shmbusctl" in page and not re.search(r"(?<!shm)busctl topic", page), page
    completion = next(root.rglob("completions/shmbusctl")).read_text()
    assert "complete -F _shmbusctl shmbusctl" in completion, completion
    tool = next(root.rglob("bin/shmbusctl"))
    said = run(tool, "--help", env=environment())
    assert "shmbusctl" in said and not re.search(r"(?<!shm)busctl", said), said


try:
    copy()
    tap.run("install: programs, library, headers and pages", complete)
    tap.run("install: unit and completion", unit_and_completion)
    tap.run("libbus.so exports its own names alone", exported)
    tap.run("a program in C uses the installed libbus", outside, os.environ["CC"].split(), "c11", "c")
    tap.run("a program in C++ uses the installed libbus", in_cxx)
    tap.run("uninstall leaves nothing", uninstalled)
    tap.run("the tool has another name, everywhere", renamed)
    tap.run("uninstall leaves nothing of the other name", uninstalled)
finally:
    shutil.rmtree(folder, ignore_errors=True)
tap.done()
