#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a power loss leaves of a data folder.

    powerloss.py begin LIVE SHADOW         all of LIVE counts as flushed; empties SHADOW
    powerloss.py cut LIVE SHADOW OUT SEED  writes to OUT what a power loss now would leave

Between the two, programs work on LIVE with faultshim.so and SHMBUS_SHADOW=SHADOW, which records
what they flush (tests/lib/shadow.h tells how). Call `cut` when they are dead or stopped. It takes
what was flushed, and of the rest what the seed says, which is what a disk may do:

- a page of 4 KiB that was written and not flushed is there, lost, or torn (one half of it new);
- a size that was not flushed is the new one or the old one;
- an entry of a folder that was made, renamed or removed since the folder was flushed is as it was
  or as it is; the names of one rename go together. A file that was never flushed may have a name
  and no bytes.

Every fourth seed loses all that was not flushed, every fourth (from 1) loses nothing; the others
mix. `cut` prints what it did as one JSON object.
"""

import ctypes
import errno
import json
import os
import random
import shutil
import stat
import sys

PAGE = 4096
CHUNK = 1 << 20
AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
STATX_BTIME = 0x800

libc = ctypes.CDLL(None, use_errno=True)


def key_of(path):
    """The name of an inode in the shadow, "<inode>-<birth in ns>"."""
    buffer = ctypes.create_string_buffer(256)
    rc = libc.statx(AT_FDCWD, os.fsencode(path), AT_SYMLINK_NOFOLLOW, 0x7FF | STATX_BTIME, buffer)
    if rc != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    raw = buffer.raw
    mask = int.from_bytes(raw[0:4], sys.byteorder)
    inode = int.from_bytes(raw[32:40], sys.byteorder)
    birth = 0
    if mask & STATX_BTIME:
        seconds = int.from_bytes(raw[80:88], sys.byteorder, signed=True)
        birth = seconds * 1000000000 + int.from_bytes(raw[88:92], sys.byteorder)
    return f"{inode}-{birth}"


def data_ranges(fd, size):
    """The parts of a file that are not holes, as (start, end)."""
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        yield start, end
        at = end


def copy_sparse(source, target):
    """Copies a file with its holes; target is a path."""
    with open(source, "rb") as old, open(target, "wb") as new:
        size = os.fstat(old.fileno()).st_size
        os.ftruncate(new.fileno(), size)
        for start, end in data_ranges(old.fileno(), size):
            while start < end:
                part = os.pread(old.fileno(), min(CHUNK, end - start), start)
                if not part:
                    break
                os.pwrite(new.fileno(), part, start)
                start += len(part)


def list_folder(path):
    """{name: (key, is a folder)}; what is neither file nor folder is left out, as on no disk."""
    entries = {}
    for entry in os.scandir(path):
        if entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False):
            entries[entry.name] = (key_of(entry.path), entry.is_dir(follow_symlinks=False))
    return entries


def begin(live, shadow):
    """Records LIVE as it is in an empty SHADOW."""
    shutil.rmtree(shadow, ignore_errors=True)
    os.makedirs(os.path.join(shadow, "files"))
    os.makedirs(os.path.join(shadow, "dirs"))
    for folder, _, files in os.walk(live):
        with open(os.path.join(shadow, "dirs", key_of(folder)), "w", encoding="utf-8") as rows:
            for name, (key, is_folder) in list_folder(folder).items():
                rows.write(f"{key} {'d' if is_folder else 'f'} {name}\n")
        for name in files:
            path = os.path.join(folder, name)
            if stat.S_ISREG(os.lstat(path).st_mode):
                copy_sparse(path, os.path.join(shadow, "files", key_of(path)))


class Loss:
    """One power loss."""

    def __init__(self, live, shadow, seed):
        self.shadow = shadow
        self.random = random.Random(seed)
        # The chance that something unflushed has reached the disk all the same.
        self.chance = {0: 0.0, 1: 1.0}.get(seed % 4, self.random.uniform(0.05, 0.95))
        self.paths = {}
        for folder, _, files in os.walk(live):
            self.paths[key_of(folder)] = folder
            for name in files:
                path = os.path.join(folder, name)
                if stat.S_ISREG(os.lstat(path).st_mode):
                    self.paths[key_of(path)] = path
        self.counts = {
            "seed": seed,
            "files": 0,
            "pages_kept": 0,
            "pages_lost": 0,
            "pages_torn": 0,
            "entries_kept": 0,
            "entries_lost": 0,
        }

    def count(self, what, kept):
        self.counts[f"{what}_{'kept' if kept else 'lost'}"] += 1

    def happens(self):
        return self.random.random() < self.chance

    def flushed_entries(self, key):
        """The entries of a folder at its last flush; none if it never was flushed."""
        entries = {}
        try:
            with open(os.path.join(self.shadow, "dirs", key), encoding="utf-8") as rows:
                for row in rows:
                    inode, kind, name = row.rstrip("\n").split(" ", 2)
                    entries[name] = (inode, kind == "d")
        except FileNotFoundError:
            pass
        return entries

    def entries_after(self, key):
        """For every group of names that a rename ties together: as flushed, or as it is."""
        old = self.flushed_entries(key)
        new = list_folder(self.paths[key]) if key in self.paths else {}
        after = {name: entry for name, entry in old.items() if new.get(name) == entry}
        changed = [name for name in sorted(set(old) | set(new)) if old.get(name) != new.get(name)]
        group_of = {name: name for name in changed}

        def root(name):
            while group_of[name] != name:
                name = group_of[name]
            return name

        first_name = {}
        for name in changed:
            for entry in (old.get(name), new.get(name)):
                if entry:
                    group_of[root(name)] = root(first_name.setdefault(entry[0], name))
        takes_new = {}
        for name in changed:
            if root(name) not in takes_new:
                takes_new[root(name)] = self.happens()
            kept = takes_new[root(name)]
            self.count("entries", kept)
            entry = (new if kept else old).get(name)
            if entry:
                after[name] = entry
        return after

    def page_after(self, old, new):
        """What the disk holds of a page that was not flushed."""
        if not self.happens():
            self.count("pages", False)
            return old
        if self.chance < 1.0 and self.random.random() < 0.2:
            self.counts["pages_torn"] += 1
            half = PAGE // 2
            return new[:half] + old[half:] if self.random.random() < 0.5 else old[:half] + new[half:]
        self.count("pages", True)
        return new

    def mix_page(self, live, target, at, size):
        length = min(PAGE, size - at)
        new = os.pread(live, length, at).ljust(length, b"\0")
        old = os.pread(target, length, at).ljust(length, b"\0")
        if new == old:
            return
        after = self.page_after(old, new)
        if after != old:
            os.pwrite(target, after, at)

    def write_file(self, key, target):
        """The flushed bytes of a file, with a part of those that were not."""
        self.counts["files"] += 1
        flushed = os.path.join(self.shadow, "files", key)
        if os.path.exists(flushed):
            copy_sparse(flushed, target)
        else:
            open(target, "wb").close()
        if key not in self.paths:
            return
        with open(self.paths[key], "rb") as live, open(target, "r+b") as out:
            live_size = os.fstat(live.fileno()).st_size
            out_size = os.fstat(out.fileno()).st_size
            if live_size != out_size and self.happens():
                os.ftruncate(out.fileno(), live_size)
                out_size = live_size
            size = min(live_size, out_size)
            pages = set()
            for fd in (live.fileno(), out.fileno()):
                for start, end in data_ranges(fd, size):
                    pages.update(range(start // PAGE, (end + PAGE - 1) // PAGE))
            for page in sorted(pages):
                self.mix_page(live.fileno(), out.fileno(), page * PAGE, size)

    def write_folder(self, key, target):
        os.mkdir(target, 0o700)
        written = {}
        for name, (inode, is_folder) in sorted(self.entries_after(key).items()):
            path = os.path.join(target, name)
            if is_folder:
                self.write_folder(inode, path)
            elif inode in written:
                os.link(written[inode], path)
            else:
                self.write_file(inode, path)
                written[inode] = path


def cut(live, shadow, out, seed):
    """Writes what a power loss would leave of LIVE to OUT, which must not exist."""
    loss = Loss(live, shadow, seed)
    loss.write_folder(key_of(live), out)
    return loss.counts


def main(arguments):
    if len(arguments) == 3 and arguments[0] == "begin":
        begin(arguments[1], arguments[2])
    elif len(arguments) == 5 and arguments[0] == "cut":
        print(json.dumps(cut(arguments[1], arguments[2], arguments[3], int(arguments[4]))))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
