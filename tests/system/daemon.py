# SPDX-License-Identifier: Apache-2.0
"""How busd starts, refuses to start, re-reads its settings and ends."""

import os
import pathlib
import re
import shutil
import signal
import socket
import stat

import harness
import tap

BUSD = harness.BUILD / "busd/busd"
BUSCTL = harness.BUILD / "tools/busctl/busctl"
TOPICS = 1000


def is_socket(path):
    return path.exists() and stat.S_ISSOCK(path.lstat().st_mode)


def refused(done, code, *words):
    """The run ended with the code, and its error text has all the words."""
    missing = [word for word in words if word not in done.stderr]
    assert done.returncode == code and not missing, (code, missing, done)


# ---- flags and exit codes -----------------------------------------------------------------------


def version_and_help(bus):
    done = bus.run(BUSD, "--version")
    assert done.returncode == 0 and re.search(r"shmbus.* \d+\.\d+\.\d+", done.stdout), done
    done = bus.run(BUSD, "--help")
    flags = ("--data", "--socket", "--config", "--set", "--check-config", "--version", "--help")
    assert done.returncode == 0 and not done.stderr, done
    assert all(flag in done.stdout for flag in flags) and "Example" in done.stdout, done


def usage(bus):
    for arguments in (["--nonsense"], ["extra"], ["--set", "no-equals"], ["--data"]):
        done = bus.run(BUSD, *arguments)
        assert done.returncode == 2 and arguments[-1] in done.stderr and "--help" in done.stderr, done
    # A variable that is not set in a script must not lead to the usual places.
    for flag in ("--data", "--socket", "--config"):
        refused(bus.run(BUSD, flag, "", "--check-config"), 2, flag, "empty")


def check_config(bus):
    path = bus.folder / "good.conf"
    path.write_text("# a comment\nflush.interval.ms = 500\n[busd]\nlog.retention.ms = 7d\n")
    done = bus.run(BUSD, "--data", bus.data, "--config", path, "--check-config")
    assert done.returncode == 0 and str(bus.data) in done.stdout, done
    assert not bus.data.exists(), "checking must not make anything"


def check_config_refuses(bus):
    path = bus.folder / "bad.conf"
    for text, words in (
        ("\nflush.intervall.ms = 5\n", (":2:", "flush.intervall.ms", "flush.interval.ms")),
        ("flush.interval.ms = 5\n", (":1:", "flush.interval.ms", "10", "3600000")),
        ("flush.interval.ms = soon\n", (":1:", "soon")),
        ("what is this\n", (":1:",)),
        ("[other]\nflush.interval.ms = 50\n", (":2:", "other")),
        ("num.partitions = 1\nnum.partitions = 2\n", (":2:", "num.partitions")),
    ):
        path.write_text(text)
        refused(bus.run(BUSD, "--config", path, "--check-config"), 78, str(path), *words)
        refused(bus.run(*bus.command("--config", path)), 78, str(path), *words)
    refused(bus.run(BUSD, "--config", bus.folder / "none", "--check-config"), 78, str(bus.folder / "none"))


def set_refuses(bus):
    for setting, words in (
        ("flush.interval.m=50", ("flush.interval.m", "flush.interval.ms")),
        ("log.segment.byte=1m", ("log.segment.byte", "log.segment.bytes")),
        ("log.segment.bytes=1", ("log.segment.bytes", "1048576")),
        ("log.cleanup.policy=burn", ("log.cleanup.policy", "delete", "compact")),
        ("delete.topic.enable=perhaps", ("delete.topic.enable", "perhaps")),
        ("access.direct.x=1", ("access.direct.x",)),
    ):
        refused(bus.run(BUSD, "--set", setting, "--check-config"), 78, *words)
        refused(bus.run(*bus.command("--set", setting)), 78, *words)


# ---- places -------------------------------------------------------------------------------------


def ordinary_environment(bus, **variables):
    home = bus.folder / "home"
    home.mkdir(exist_ok=True)
    os.chmod(bus.folder, 0o755)
    if os.geteuid() == 0:
        os.chown(home, harness.NOBODY, harness.NOBODY)
    return bus.environment(extra={"HOME": str(home), **variables}), home


def run_to_ready(bus, env):
    """Starts busd without arguments as an ordinary user."""
    with harness.Notify(bus.folder / "notify") as notify:
        env = dict(env, NOTIFY_SOCKET=str(notify.path))
        bus.busd = bus.spawn([bus.program("busd")], "busd", env=env, preexec=harness.drop_root)
        notify.wait("READY=1", bus.busd)


def places_of_xdg(bus):
    env, home = ordinary_environment(bus)
    env["XDG_STATE_HOME"] = str(home / "state")
    env["XDG_RUNTIME_DIR"] = str(home / "run")
    for name in ("state", "run"):
        (home / name).mkdir()
        if os.geteuid() == 0:
            os.chown(home / name, harness.NOBODY, harness.NOBODY)
    run_to_ready(bus, env)
    bus.data = home / "state/shmbus"
    assert bus.data.is_dir() and stat.S_IMODE(bus.data.stat().st_mode) == 0o700, bus.data
    assert is_socket(home / "run/shmbus/bus.sock")
    done = bus.run(bus.program("busctl"), "status", env=env, preexec=harness.drop_root)
    assert done.returncode == 0 and str(bus.data) in done.stdout, done
    assert bus.stop() == 0, bus.busd.tail()
    bus.forget_shared_memory()


def own_folder_in_tmp():
    """/tmp/shmbus-UID, unless a busd of this user is there already."""
    folder = pathlib.Path(f"/tmp/shmbus-{harness.ordinary_uid()}")
    if folder.exists():
        raise tap.Skip(f"{folder} is there already")
    return folder


def places_without_xdg(bus):
    folder = own_folder_in_tmp()
    env, home = ordinary_environment(bus)
    try:
        run_to_ready(bus, env)
        bus.data = home / ".local/state/shmbus"
        assert bus.data.is_dir() and is_socket(folder / "bus.sock")
        about = folder.stat()
        assert stat.S_IMODE(about.st_mode) == 0o700 and about.st_uid == harness.ordinary_uid(), about
        done = bus.run(bus.program("busctl"), "status", env=env, preexec=harness.drop_root)
        assert done.returncode == 0, done
        assert bus.stop() == 0, bus.busd.tail()
    finally:
        bus.busd.kill()
        bus.forget_shared_memory()
        shutil.rmtree(folder, ignore_errors=True)


def not_fooled(bus, env, folder):
    """A client does not even knock at what a stranger listens to."""
    os.chown(folder, harness.NOBODY - 1, -1)
    with socket.socket(socket.AF_UNIX) as trap:
        trap.bind(str(folder / "bus.sock"))
        os.chmod(folder / "bus.sock", 0o777)
        trap.listen()
        trap.setblocking(False)
        done = bus.run(bus.program("busctl"), "status", env=env, preexec=harness.drop_root)
        assert str(folder) not in done.stdout + done.stderr, done
        try:
            trap.accept()
        except BlockingIOError:
            return
        raise AssertionError("busctl connected to a stranger's socket")


def socket_folder_of_a_stranger(bus):
    """Somebody else may have made /tmp/shmbus-UID, open for all, to listen there."""
    folder = own_folder_in_tmp()
    env, _ = ordinary_environment(bus)
    try:
        folder.mkdir()
        os.chmod(folder, 0o777)
        done = bus.run(bus.program("busd"), env=env, preexec=harness.drop_root)
        refused(done, 1, str(folder), "0700")
        assert not (folder / "bus.sock").exists()
        if os.geteuid() == 0:
            not_fooled(bus, env, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def data_without_permission(bus):
    bus.data.mkdir()
    os.chmod(bus.data, 0o000)
    os.chmod(bus.folder, 0o777)
    command = [bus.program("busd")] + bus.command()[1:]
    refused(bus.run(*command, preexec=harness.drop_root), 1, str(bus.data))
    os.chmod(bus.data, 0o700)


# ---- one at a time ------------------------------------------------------------------------------


def second_busd(bus):
    bus.start()
    bus.busctl("topic", "create", "t")
    other = [BUSD, "--data", bus.data, "--socket", bus.folder / "other.sock"]
    refused(bus.run(*other), 1, str(bus.data))
    assert not (bus.folder / "other.sock").exists()
    other = [BUSD, "--data", bus.folder / "other", "--socket", bus.socket]
    refused(bus.run(*other), 1, str(bus.socket))
    bus.busctl("produce", "t", stdin="a\n")
    assert bus.busctl("consume", "-e", "t").stdout == "a\n"


def just_started(bus):
    """busctl in a script right behind "busd &": it tries again, until busd listens."""
    env = bus.environment(fault="before:socket:2:stop")
    status = bus.spawn([BUSCTL, "--socket", bus.socket, "status"], "status", env=env)
    status.stopped()
    bus.start()
    status.signal(signal.SIGCONT)
    assert status.wait() == 0 and str(bus.data) in status.out(), status.tail()


def killed_a_moment_ago(bus):
    """kill -9 and start again in one breath: what dies still holds its lock for a while."""
    bus.start()
    for _ in range(10):
        bus.busd.signal(signal.SIGKILL)
        bus.start()
    bus.busctl("status")


def stale_socket(bus):
    bus.start()
    bus.kill()
    assert is_socket(bus.socket)
    bus.start()
    bus.busctl("status")
    assert bus.stop() == 0 and not bus.socket.exists()


def mode_from_the_first(bus):
    """Whoever looks at the socket before it is ready is neither shut out nor let in by mistake."""
    for mode in ("0666", "0600"):
        bus.settings["socket.mode"] = mode
        busd = bus.launch(env=bus.environment(fault="before:chmod@bus.sock:1:stop"))
        busd.stopped()
        assert stat.S_IMODE(bus.socket.stat().st_mode) == int(mode, 8), oct(bus.socket.stat().st_mode)
        busd.signal(signal.SIGCONT)
        busd.line("ready")
        assert stat.S_IMODE(bus.socket.stat().st_mode) == int(mode, 8), oct(bus.socket.stat().st_mode)
        assert bus.stop() == 0, busd.tail()


def no_socket_in_its_place(bus):
    bus.socket.write_text("precious")
    refused(bus.run(*bus.command()), 1, str(bus.socket))
    assert bus.socket.read_text() == "precious"


def newer_format(bus):
    bus.start()
    bus.busctl("topic", "create", "t")
    bus.busctl("produce", "t", stdin="kept\n")
    assert bus.stop() == 0
    path = bus.data / "format"
    text = path.read_text()
    number = re.search(r"\d+", text).group()
    path.write_text(text.replace(number, str(int(number) + 1)))
    refused(bus.run(*bus.command()), 1, str(bus.data), str(int(number) + 1), "newer busd")
    path.write_text(text)
    bus.start()
    assert bus.busctl("consume", "-e", "t").stdout == "kept\n"


# ---- a service manager --------------------------------------------------------------------------


def service_manager(bus):
    with harness.Notify(bus.folder / "manager") as notify:
        busd = bus.launch(env=bus.environment(extra={"NOTIFY_SOCKET": str(notify.path)}))
        notify.wait("READY=1", busd)
        bus.busctl("status")
        busd.signal(signal.SIGHUP)
        assert "MONOTONIC_USEC=" in notify.wait("RELOADING=1", busd)
        notify.wait("READY=1", busd)
        busd.signal(signal.SIGTERM)
        notify.wait("STOPPING=1", busd)
        assert busd.wait() == 0, busd.tail()
    assert not bus.socket.exists()


def clean_end(bus):
    bus.start()
    bus.busctl("topic", "create", "t")
    lines = "".join(f"{i}\n" for i in range(100))
    bus.busctl("produce", "--acks", "1", "t", stdin=lines)
    bus.busd.signal(signal.SIGINT)
    assert bus.busd.wait() == 0, bus.busd.tail()
    bus.start()
    state = bus.partitions("t")[0]
    assert state["end_offset"] == 100 and state["durable_offset"] == 100, state
    assert bus.busctl("consume", "-e", "t").stdout == lines


def priorities(bus):
    """What is no terminal gets the prefixes that journald knows."""
    bus.start("--set", "log.level=debug")
    assert bus.stop() == 0
    lines = bus.busd.err().splitlines()
    assert lines and all(re.match(r"<[3-7]>", line) for line in lines), lines


def setting(bus, name):
    return {row["name"]: row["value"] for row in bus.json("config", "list", "--busd")}[name]


def reread(bus):
    path = bus.folder / "busd.conf"
    path.write_text("num.partitions = 2\nmax.open.partitions = 100\n")
    bus.start("--config", path)
    bus.busctl("topic", "create", "before")
    path.write_text("num.partitions = 5\nmax.open.partitions = 200\n")
    bus.busd.signal(signal.SIGHUP)
    harness.until(lambda: setting(bus, "num.partitions") == "5", "the new number of partitions")
    bus.busctl("topic", "create", "after")
    counts = {row["topic"]: row["partitions"] for row in bus.json("topic", "list")}
    assert counts == {"before": 2, "after": 5}, counts
    bus.busd.line("max.open.partitions=200 takes effect at the next start")
    path.write_text("num.partitions = many\n")
    bus.busd.signal(signal.SIGHUP)
    bus.busd.line(f"{path}:1:")
    assert setting(bus, "num.partitions") == "5"
    assert bus.stop() == 0


# ---- many topics --------------------------------------------------------------------------------


def thousand_topics(bus):
    names = [f"t{i:04}" for i in range(TOPICS)]
    bus.settings["log.segment.preallocate.bytes"] = 65536
    bus.start()
    bus.busctl("topic", "create", *names)
    bus.busctl("produce", names[-1], stdin="last\n")
    for end in (bus.stop, bus.kill):
        end()
        bus.start()
        listed = [row["topic"] for row in bus.json("topic", "list")]
        assert listed == names, len(listed)
        assert bus.busctl("consume", "-e", names[-1]).stdout == "last\n"
    bus.busctl("produce", names[0], stdin="first\n")
    assert bus.busctl("consume", "-e", names[0]).stdout == "first\n"


def hangs_up_on_nobody(bus):
    """Connections that say nothing, or nonsense, keep nobody from working or ending."""
    bus.start()
    silent = [socket.socket(socket.AF_UNIX) for _ in range(20)]
    for number, one in enumerate(silent):
        one.connect(str(bus.socket))
        if number % 2:
            one.send(b"GET / HTTP/1.1\r\n\r\n")
    bus.busctl("topic", "create", "t")
    assert bus.stop() == 0, bus.busd.tail()
    for one in silent:
        one.close()


for name, function in (
    ("--version and --help", version_and_help),
    ("mistakes in the command line", usage),
    ("--check-config of good settings", check_config),
    ("a bad file is refused with its line", check_config_refuses),
    ("--set is refused with the remedy", set_refuses),
    ("the places of XDG", places_of_xdg),
    ("the places without XDG", places_without_xdg),
    ("the socket folder of a stranger", socket_folder_of_a_stranger),
    ("a data folder without permission", data_without_permission),
    ("a second busd is refused", second_busd),
    ("busctl waits for a busd that starts", just_started),
    ("a busd that is killed and started at once", killed_a_moment_ago),
    ("a stale socket is replaced", stale_socket),
    ("the socket has its mode from the first", mode_from_the_first),
    ("what is no socket is not replaced", no_socket_in_its_place),
    ("data of a newer format is refused", newer_format),
    ("a service manager is told", service_manager),
    ("SIGINT ends it and loses nothing", clean_end),
    ("the trace has priorities", priorities),
    ("SIGHUP reads the settings again", reread),
    ("a thousand topics", thousand_topics),
    ("silent clients", hangs_up_on_nobody),
):
    with harness.Bus() as one_bus:
        tap.run(name, function, one_bus)
tap.done()
