# SPDX-License-Identifier: Apache-2.0
"""Fault F9: bits flip, files are cut, zeroed, or of another version: every kind of file.

Damage is told with its place, only what is damaged is withheld, what is derived is made anew, and
nothing healthy is deleted.
"""

import os
import random
import re
import shutil
import struct

import harness
import history
import tap

SEED = int(os.environ.get("SHMBUS_SEED", "9"))
RECORDS = 4000
SETTINGS = {**harness.SMALL, "flush.interval.ms": 50}


# ---- a log to be damaged ------------------------------------------------------------------------


class Template:
    """A data folder with a few segments, made once; the cases damage copies of it."""

    def __init__(self):
        self.bus = harness.Bus(settings=SETTINGS)
        self.bus.start()
        self.bus.busctl("topic", "create", "t", "-p", "1")
        self.bus.busctl("topic", "create", "second", "-p", "3", "-c", "retention.ms=123456789")
        self.writer = self.bus.worker("produce", "t", 1, RECORDS, "acks=1", "worker.size=1000")
        assert self.writer.wait() == 0, self.writer.tail()
        assert self.bus.stop() == 0, self.bus.busd.tail()
        self.spares = self._spares()
        self.bus.forget_shared_memory()
        self.values = {}
        for line in self.writer.lines():
            if line.startswith("ack"):
                producer, seq, _, offset = (int(x) for x in line.split()[1:])
                self.values[offset] = (producer, seq)
        assert len(self.values) == RECORDS

    def _spares(self):
        return [path.name for path in self.bus.partition_folder("t").glob("spare-*")]

    def copy(self):
        """A bus on a copy of the folder; not started."""
        bus = harness.Bus(settings=SETTINGS)
        shutil.copytree(self.bus.data, bus.data)
        return bus

    def close(self):
        self.bus.__exit__()


def logs(bus):
    """The segment files of t-0, the last one is the active one."""
    return sorted(bus.partition_folder("t").glob("0*.log"))


def batches(path):
    """(position, size, first offset, next offset) of each batch of a segment file."""
    data = path.read_bytes()
    found, at = [], 0
    while at + 61 <= len(data):
        base, length = struct.unpack_from(">qi", data, at)
        if length == 0:
            break
        (delta,) = struct.unpack_from(">i", data, at + 23)
        found.append((at, 12 + length, base, base + delta + 1))
        at += 12 + length
    return found


def patch(path, position, data):
    with open(path, "r+b") as file:
        file.seek(position)
        file.write(data)


def flip(path, position, bit):
    with open(path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1 << bit]))


def read_around(bus, expected, *settings):
    """Reads all there is, over the damage; the values by offset, and the errors."""
    worker = bus.worker(
        "consume",
        "t",
        0,
        len(expected),
        "worker.partition=0",
        "worker.on_damage=2",
        "worker.give_up_ms=5000",
        *settings,
    )
    assert worker.wait() == 0, worker.tail()
    values, errors = {}, []
    for line in worker.lines():
        word, rest = line.split(" ", 1)
        if word == "read":
            _, offset, producer, seq = (int(x) for x in rest.split())
            values[offset] = (producer, seq)
        elif word == "error":
            errors.append(rest)
        assert word != "torn", line
    return values, errors


def expect_values(bus, template, withheld, *settings):
    """What is not withheld is there with its value, and nothing else; gives the errors."""
    expected = {o: v for o, v in template.values.items() if o not in withheld}
    values, errors = read_around(bus, expected, *settings)
    wrong = {o: v for o, v in values.items() if template.values.get(o) != v}
    assert not wrong, sorted(wrong.items())[:10]
    missing, surplus = sorted(set(expected) - set(values)), sorted(set(values) - set(expected))
    assert not missing and not surplus, ("missing", missing[:10], "not withheld", surplus[:10])
    return errors


def goes_on(bus, number=7, count=20):
    """An honest producer appends, and what it appends can be read."""
    writer = bus.worker("produce", "t", number, count)
    assert writer.wait() == 0 and writer.count("ack") == count, writer.tail()
    first = int(next(line for line in writer.lines() if line.startswith("ack")).split()[4])
    reader = bus.worker("consume", "t", 0, count, f"worker.from={first}")
    assert reader.wait() == 0, reader.tail()
    seen = [line.split()[1:] for line in reader.lines() if line.startswith("read")]
    assert [words[3] for words in seen] == [str(i) for i in range(count)], reader.tail()
    return first


# ---- segments -----------------------------------------------------------------------------------


def overlapping(path, position, size):
    """Offsets of the batches that have a byte in the range."""
    hurt = set()
    for at, length, first, behind in batches(path):
        if at < position + size and at + length > position:
            hurt.update(range(first, behind))
    return hurt


# name → (bytes from the start of a batch, bit)
FLIPS = {
    "the base offset, by much": (6, 3),
    "the base offset, by little": (7, 2),
    "the length, by much": (8, 5),
    "the length, by little": (11, 1),
    "the magic": (16, 0),
    "the checksum": (18, 4),
    "the attributes": (22, 0),
    "the last offset delta": (26, 2),
    "the number of records": (60, 1),
    "a record": (70, 6),
    "a value": (120, 7),
}


def verify_tells(bus, path, position):
    """busctl log verify names the file and the place, and fails."""
    done = bus.busctl("log", "verify", path, check=False)
    text = done.stdout + done.stderr
    assert done.returncode == 1, done
    assert path.name in text and str(position) in text, (position, done)


def flipped(template, segment, field):
    rng = random.Random(f"{SEED} {segment} {field}")
    with template.copy() as bus:
        path = logs(bus)[segment]
        all_batches = batches(path)
        at, size, first, behind = all_batches[rng.randrange(1, len(all_batches) - 1)]
        byte, bit = FLIPS[field]
        flip(path, at + byte, bit)
        print(f"# {path.name}, batch at {at}, offset {first}", flush=True)
        verify_tells(bus, path, at)
        bus.start()
        errors = expect_values(bus, template, set(range(first, behind)))
        assert errors and all("t-0" in e and str(first) in e for e in errors), errors
        goes_on(bus)
        assert bus.stop() == 0, bus.busd.tail()
        bus.start()
        expect_values(bus, template, set(range(first, behind)))


def several_flips(template):
    """Many places at once, in every segment."""
    rng = random.Random(SEED)
    with template.copy() as bus:
        hurt = set()
        for path in logs(bus):
            chosen = rng.sample(batches(path)[1:-1], 5)
            for at, size, first, behind in chosen:
                flip(path, at + rng.randrange(21, size), rng.randrange(8))
                hurt.update(range(first, behind))
        bus.start()
        expect_values(bus, template, hurt)
        goes_on(bus)


def zeroed(template, segment, where):
    """A range of zeros: in the middle, or the tail."""
    with template.copy() as bus:
        path = logs(bus)[segment]
        end = sum(batches(path)[-1][:2])
        position = end // 2 // 512 * 512 if where == "middle" else end - 20000
        size = 8192 if where == "middle" else 20000
        hurt = overlapping(path, position, size)
        patch(path, position, bytes(size))
        bus.start()
        errors = expect_values(bus, template, hurt)
        # Behind the end of the log nothing is read, so that nobody meets the missing tail there.
        assert errors or (where == "tail" and segment == -1), errors
        first = goes_on(bus)
        assert first >= RECORDS, f"offset {first} was given twice"
        if segment == -1 and where == "tail":
            bus.busd.line(r"t-0: .*(offsets \d+ to \d+ .*missing|damaged on disk at position)")


def cut(template, segment, share):
    """A file that was truncated."""
    with template.copy() as bus:
        path = logs(bus)[segment]
        end = sum(batches(path)[-1][:2])
        size = int(end * share) + 7
        hurt = overlapping(path, size, end)
        os.truncate(path, size)
        bus.start()
        expect_values(bus, template, hurt)
        first = goes_on(bus)
        assert first >= RECORDS, f"offset {first} was given twice"


def lost_segment(template):
    """A segment file is gone altogether: the others are served."""
    with template.copy() as bus:
        path = logs(bus)[1]
        hurt = overlapping(path, 0, path.stat().st_size)
        path.unlink()
        bus.start()
        expect_values(bus, template, hurt)
        goes_on(bus)


def damage_behind_checkpoint(template):
    """What was not looked at before a crash is cut at the damage, and what is cut is kept aside."""
    with template.copy() as bus:
        bus.start()
        keeper_stopped = bus.worker("produce", "t", 5, 200, "worker.size=1000")
        assert keeper_stopped.wait() == 0, keeper_stopped.tail()
        bus.kill()
        bus.forget_shared_memory()
        path = logs(bus)[-1]
        at, size, first, behind = batches(path)[-3]
        later = path.read_bytes()[at + size : sum(batches(path)[-1][:2])]
        flip(path, at + 80, 3)
        bus.start()
        reader = bus.worker("consume", "t", 0, first, "worker.partition=0")
        assert reader.wait() == 0, reader.tail()
        goes_on(bus)
        kept = [p for p in bus.partition_folder("t").iterdir() if later in p.read_bytes()]
        assert kept, [p.name for p in bus.partition_folder("t").iterdir()]


# ---- what is derived ----------------------------------------------------------------------------


def hurt_index(path, how, rng):
    data = bytearray(path.read_bytes())
    if how == "flips":
        for _ in range(6):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif how == "cut":
        del data[rng.randrange(1, len(data)) :]
    elif how == "zeroed":
        data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    elif how == "garbage":
        data[:] = rng.randbytes(len(data))
    elif how == "longer":
        data += rng.randbytes(100)
    elif how == "empty":
        data = bytearray()
    path.write_bytes(data)


def indexes(template, suffix, how):
    rng = random.Random(f"{SEED} {suffix} {how}")
    with template.copy() as bus:
        found = sorted(bus.partition_folder("t").glob(f"0*.{suffix}"))
        whole = {path.name: path.read_bytes() for path in found if path.stat().st_size > 0}
        assert len(whole) >= 2, found
        for name in whole:
            hurt_index(bus.partition_folder("t") / name, how, rng)
        bus.start()
        for _ in range(20):
            at = rng.randrange(RECORDS)
            seek = bus.worker("consume", "t", 0, 1, f"worker.from={at}")
            assert seek.wait() == 0, seek.tail()
            assert seek.lines()[0] == f"read 0 {at} 1 {at}", (at, seek.tail())
        stamps = [r for r in bus.json("consume", "t", "-e", "-o", "beginning")]
        for record in rng.sample(stamps, 5):
            first = next(r for r in stamps if r["timestamp"] >= record["timestamp"])
            got = bus.json("consume", "t", "-o", f"@{record['timestamp']}", "-c", "1")[0]
            assert got["offset"] == first["offset"], (record, got)
        expect_values(bus, template, set())
        goes_on(bus)
        if how == "garbage":
            bus.busd.line(r"t-0/.*\.index.* written again")
        # Closed segments get their indexes back, byte for byte; what a flip leaves plausible stays.
        for name in sorted(whole)[:-1] if how != "flips" else ():
            path = bus.partition_folder("t") / name
            harness.until(
                lambda: path.exists() and path.read_bytes() == whole[name],
                f"{name} to be as before",
                detail=bus.busd.tail,
            )


def epochs(template):
    for content in (b"", b"garbage\xff\x00", b"0\n1\n", b"0\n999999999\n", b"7\n1\n0 0\n"):
        with template.copy() as bus:
            (bus.partition_folder("t") / "leader-epoch-checkpoint").write_bytes(content)
            bus.start()
            expect_values(bus, template, set())
            goes_on(bus)


def spares(template):
    """A spare with anything in it is no part of the log."""
    rng = random.Random(SEED)
    for content in (b"", rng.randbytes(100000), bytes(100000)):
        with template.copy() as bus:
            folder = bus.partition_folder("t")
            names = {path.name for path in folder.glob("spare-*")} | {"spare-3.log", "spare-77.log"}
            for name in names:
                (folder / name).write_bytes(content)
            bus.start()
            expect_values(bus, template, set())
            goes_on(bus)


# ---- shared memory ------------------------------------------------------------------------------


def page_of(bus, suffix):
    topic = sorted(path for path in bus.objects() if path.name.endswith(suffix))
    pages = [path for path in topic if path.stat().st_size >= 4096]
    return max(pages, key=lambda path: path.stat().st_mtime_ns)


def hurt_page(path, how, rng):
    data = bytearray(path.read_bytes())
    if how == "flips":
        for _ in range(4):
            data[rng.randrange(1024)] ^= 1 << rng.randrange(8)
    elif how == "zeroed":
        data[:] = bytes(len(data))
    elif how == "garbage":
        data[:] = rng.randbytes(len(data))
    elif how == "a newer layout":
        data[8:12] = struct.pack("<I", 2)
    elif how == "an older layout":
        data[8:12] = struct.pack("<I", 0)
    elif how == "cut":
        del data[100:]
    elif how == "empty":
        data = bytearray()
    path.write_bytes(data)


def pages(suffix, how, crash):
    """Damage while busd is away; then everything is there, in a new generation if need be."""
    rng = random.Random(f"{SEED} {suffix} {how}")
    with harness.Bus(settings=SETTINGS) as bus:
        bus.start()
        bus.busctl("topic", "create", "t", "-p", "1")
        writer = bus.worker("produce", "t", 1, 500)
        assert writer.wait() == 0, writer.tail()
        if crash:
            bus.kill()
        else:
            assert bus.stop() == 0, bus.busd.tail()
        before = bus.generations()
        hurt_page(page_of(bus, suffix), how, rng)
        bus.start()
        goes_on(bus)
        late = bus.read_all("t")
        wrong = history.judge([writer], [x for x in late if not re.match(r"read \d+ \d+ 7 ", x)])
        assert not wrong, wrong[:10]
        # A bell is made whole where it hangs.
        if how != "flips" and suffix == ".ctl":
            bus.busd.line("t-0.*generation")
            assert bus.generations() != before, before


def pages_live(how):
    """Damage while busd and both ends run: they find each other in a new generation."""
    rng = random.Random(f"{SEED} live {how}")
    with harness.Bus(settings=SETTINGS) as bus:
        bus.start()
        bus.busctl("topic", "create", "t", "-p", "1")
        writer = bus.worker("produce", "t", 1, 0, "worker.pause_us=500")
        reader = bus.worker("consume", "t", 0, 0, "worker.on_damage=1")
        writer.told("ack", 50)
        before = bus.generations()
        path = page_of(bus, ".ctl")
        fresh = bytearray(path.read_bytes())
        if how == "zeroed":
            fresh[:] = bytes(len(fresh))
        else:
            fresh[:] = rng.randbytes(len(fresh))
        patch(path, 0, bytes(fresh))
        harness.until(lambda: bus.generations() not in ([], before), "a new generation")
        writer.told("ack", 100)
        reader.told("read", 100)
        assert writer.stop() == 0 and reader.stop() == 0, writer.tail() + reader.tail()
        wrong = history.judge([writer], bus.read_all("t"), duplicates_allowed=True)
        assert not wrong, wrong[:10]


# ---- what busd starts from ----------------------------------------------------------------------


def refuses(bus, *words):
    """busd does not start: exit 1, and the text has all words."""
    done = bus.run(*bus.command(), seconds=30)
    missing = [word for word in words if word not in done.stderr]
    assert done.returncode == 1 and not missing, (missing, done)
    return done.stderr


def formats(template):
    cases = (
        (b"", ("format", "damaged")),
        (b"shmbus-data 2\ninstance 00\n", ("newer busd", "format 2")),
        (b"shmbus-data 99\n", ("newer busd", "format 99")),
        (b"shmbus-data 0\ninstance " + b"0" * 32 + b"\n", ("format",)),
        (b"shmbus-data 1\ninstance xyz\n", ("format", "damaged")),
        (b"shmbus-data 1\n", ("format", "damaged")),
        (os.urandom(64), ("format", "damaged")),
    )
    with template.copy() as bus:
        path = bus.data / "format"
        good = path.read_bytes()
        for content, words in cases:
            path.write_bytes(content)
            told = refuses(bus, str(bus.data), *words)
            assert path.read_bytes() == content, "a refusal must not change anything"
        restore_as_told(bus, told)
        bus.start()
        expect_values(bus, template, set())
        assert bus.stop() == 0 and path.read_bytes() != good, bus.busd.tail()
        path.write_bytes(good)
        (bus.data / "lock").write_bytes(os.urandom(100))
        bus.start()
        expect_values(bus, template, set())


def restore_as_told(bus, text):
    """Does what the refusal says: moves the file away."""
    remedy = re.search(r"mv (\S+) (\S+?\.damaged)", text)
    assert remedy, text
    os.rename(remedy[1], remedy[2])


def whole(bus, template):
    """All topics with their settings and records are there."""
    names = {topic["topic"] for topic in bus.json("topic", "list")}
    assert {"t", "second"} <= names, names
    second = bus.busctl("topic", "describe", "second").stdout
    assert "123456789" in second, second
    expect_values(bus, template, set())


def lmdb(template, how):
    """busd refuses to start from damaged metadata, and what it proposes brings everything back."""
    rng = random.Random(f"{SEED} {how}")
    with template.copy() as bus:
        path = bus.data / "meta/data.mdb"
        data = bytearray(path.read_bytes())
        if how == "zeroed":
            data[:] = bytes(len(data))
        elif how == "garbage":
            data[:] = rng.randbytes(len(data))
        elif how == "cut":
            del data[4096 * 3 :]
        elif how == "cut in the first page":
            del data[100:]
        elif how == "no magic":
            data[16:20] = data[4112:4116] = bytes(4)
        elif how == "a root beyond the end":
            for page in (0, 4096):
                data[page + 16 + 24 + 48 + 40 : page + 16 + 24 + 48 + 48] = struct.pack("<Q", 1 << 40)
        elif how == "pages swapped":
            data[8192:12288], data[12288:16384] = data[12288:16384], data[8192:12288]
        path.write_bytes(data)
        text = refuses(bus, "data.mdb", "damaged", "backup")
        assert path.read_bytes() == bytes(data), "a refusal must not change anything"
        restore_as_told(bus, text)
        bus.start()
        bus.busd.line("made again from")
        whole(bus, template)
        goes_on(bus)


def lmdb_version(template):
    with template.copy() as bus:
        path = bus.data / "meta/data.mdb"
        for page in (0, 4096):
            patch(path, page + 20, struct.pack("<I", 99))
        refuses(bus, "data.mdb", "version", "start the busd that wrote it")


def lmdb_flips(template):
    """A bit anywhere: either nothing depends on it, or busd refuses; it never dies of it."""
    rng = random.Random(SEED)
    refusals = 0
    with template.copy() as bus:
        path = bus.data / "meta/data.mdb"
        good = path.read_bytes()
        for i in range(40):
            data = bytearray(good)
            # Half of them where LMDB keeps what leads to all the rest.
            at = rng.randrange(len(data)) if i % 2 else 4096 * rng.randrange(2) + rng.randrange(152)
            data[at] ^= 1 << rng.randrange(8)
            path.write_bytes(data)
            (bus.data / "meta/lock.mdb").unlink(missing_ok=True)
            try:
                bus.start()
            except RuntimeError:
                assert bus.busd.wait() == 1, (at, bus.busd.tail())
                assert "data.mdb" in bus.busd.err() or "meta" in bus.busd.err(), (at, bus.busd.tail())
                refusals += 1
                continue
            names = {topic["topic"] for topic in bus.json("topic", "list")}
            assert {"t", "second"} <= names, (at, names)
            assert bus.stop() == 0, (at, bus.busd.tail())
            bus.forget_shared_memory()
        print(f"# {refusals} of 40 flips were refused", flush=True)
        assert 0 < refusals < 40, refusals


def backups(template):
    """Without metadata, a damaged backup is refused; with metadata it is written anew."""
    rng = random.Random(SEED)
    with template.copy() as bus:
        backup, data = bus.data / "meta/backup", bus.data / "meta/data.mdb"
        good = backup.read_bytes()
        data.rename(data.with_suffix(".away"))
        flipped_one = bytearray(good)
        flipped_one[len(good) // 2] ^= 1
        newer = good.replace(b"shmbus-metadata 1", b"shmbus-metadata 2", 1)
        for content, words in (
            (bytes(flipped_one), ("backup", "checksum")),
            (good[: len(good) // 2], ("backup",)),
            (rng.randbytes(500), ("backup",)),
            (newer, ("backup", "newer busd")),
        ):
            backup.write_bytes(content)
            refuses(bus, *words)
            assert backup.read_bytes() == content, "a refusal must not change anything"
            data.unlink(missing_ok=True)
        data.with_suffix(".away").rename(data)
        bus.start()
        whole(bus, template)
        bus.busctl("topic", "create", "third")
        harness.until(lambda: backup.read_bytes().startswith(b"shmbus-metadata 1"), "a new backup")
        assert bus.stop() == 0, bus.busd.tail()
        data.unlink()
        bus.start()
        whole(bus, template)


def main():
    print(f"# seed {SEED}", flush=True)
    template = Template()
    for segment, name in ((0, "a closed segment"), (-1, "the active segment")):
        for field in FLIPS:
            tap.run(f"{name}: a flip in {field}", flipped, template, segment, field)
        for where in ("middle", "tail"):
            tap.run(f"{name}: zeros in the {where}", zeroed, template, segment, where)
        for share in (0.4, 0.95):
            tap.run(f"{name}: cut to {share}", cut, template, segment, share)
    tap.run("flips everywhere", several_flips, template)
    tap.run("a segment is gone", lost_segment, template)
    tap.run("damage behind the checkpoint", damage_behind_checkpoint, template)
    for suffix in ("index", "timeindex"):
        for how in ("flips", "cut", "zeroed", "garbage", "longer", "empty"):
            tap.run(f"{suffix}: {how}", indexes, template, suffix, how)
    tap.run("leader epochs", epochs, template)
    tap.run("spares", spares, template)
    for suffix in (".ctl", ".bell"):
        for how in ("zeroed", "garbage", "a newer layout", "an older layout", "cut", "empty", "flips"):
            if suffix == ".ctl" or how in ("zeroed", "garbage", "cut", "empty"):
                tap.run(f"{suffix}: {how}", pages, suffix, how, how in ("zeroed", "flips", "empty"))
    for how in ("zeroed", "garbage"):
        tap.run(f"the control page, while in use: {how}", pages_live, how)
    tap.run("format and lock", formats, template)
    for how in (
        "zeroed",
        "garbage",
        "cut",
        "cut in the first page",
        "no magic",
        "a root beyond the end",
        "pages swapped",
    ):
        tap.run(f"data.mdb: {how}", lmdb, template, how)
    tap.run("data.mdb of another version", lmdb_version, template)
    tap.run("data.mdb with a flipped bit", lmdb_flips, template)
    tap.run("the backup of the metadata", backups, template)
    template.close()
    tap.done()


main()
