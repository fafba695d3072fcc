#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The house has floors: a file includes its own folder and lower floors, never a folder beside it on
# its floor, never upwards. Libraries are included only where they are at home. No include cycles.
. "$(dirname "$0")/files.sh"

bad=0
mapfile -t sources < <(files 'libbus/*.[ch]' 'busd/*.[ch]' 'tools/*.[ch]')
[ "${#sources[@]}" -gt 0 ] || { echo "no sources found" && exit 1; }

awk '
    BEGIN {
        # folder -> floor; "bus" holds the public headers, which everybody may include.
        split("bus 0 base 0 record 1 protocol 1 shm 2 client 3 store 3 meta 3 core 3 run 3 " \
            "cluster 4 api 5 door 6 busd 7 busctl 8 demo 8", rows, " ")
        for (i = 1; rows[i] != ""; i += 2)
            floor[rows[i]] = rows[i + 1] + 0
        # header -> the files at whose place it may be included
        home["lmdb.h"] = "^busd/meta/"
        home["uv.h"] = "^busd/(run|door)/"
        home["raft.h"] = "^busd/cluster/raft_"
        home["zstd.h"] = home["lz4.h"] = home["lz4frame.h"] = home["zlib.h"] = \
            home["snappy-c.h"] = "^libbus/record/codec"
        home["isa-l.h"] = home["isa-l/crc.h"] = "^libbus/record/crc32c\\.c"
        home["ini.h"] = "^busd/config\\.c"
        home["jansson.h"] = "^tools/busctl/out_json\\.c"
        home["ncurses.h"] = "^tools/busctl/top_(screen|term)\\.c"
        home["CUnit/CUnit.h"] = "^tests/"
    }
    function complain(why) { printf "%s:%d: %s\n", FILENAME, FNR, why; bad = 1 }
    function folder_of(path,    parts, n) {
        n = split(path, parts, "/")
        return n < 2 ? "" : parts[n - 1]
    }
    FNR == 1 { own = folder_of(FILENAME) }
    !/^[ \t]*#[ \t]*include[ \t]/ { next }
    {
        match($0, /[<"][^>"]*[>"]/)
        header = substr($0, RSTART + 1, RLENGTH - 2)
        quoted = substr($0, RSTART, 1) == "\""
        if (header in home && FILENAME !~ home[header])
            complain("<" header "> has its home elsewhere: " home[header])
        if (header ~ /^nng\// && FILENAME !~ "^busd/door/(peer|http)\\.c")
            complain("nng has its home elsewhere: busd/door/peer.c and http.c")
        if (own == "bus" && quoted)
            complain("a public header includes only <bus/...> and the system")
        if (!quoted)
            next
        theirs = header ~ /\// ? header : own "/" header
        sub(/\/.*/, "", theirs)
        if (!(theirs in floor))
            complain("no such floor: " header)
        else if (!(own in floor))
            complain("this folder has no floor: " own)
        else if (theirs == own)
            next
        else if (FILENAME ~ /^tools\// && header ~ /\.def$/)
            next # a table is there for everybody who shows it to people
        else if (floor[theirs] > floor[own])
            complain(own " (floor " floor[own] ") includes upwards: " header)
        else if (floor[theirs] == floor[own])
            complain(own " (floor " floor[own] ") includes sideways: " header)
        else if (FILENAME ~ /^busd\// && theirs == "client")
            complain("the daemon does not use the client: " header)
        else if (FILENAME ~ /^tools\// && theirs !~ /^(base|record|shm)$/)
            complain("a tool uses <bus/...>, base, record and shm only: " header)
    }
    END { exit bad }
' "${sources[@]}" || bad=1

# Headers in the order of their includes; tsort names the members of a cycle.
edges=$(awk '
    /^[ \t]*#[ \t]*include[ \t]*("[a-z_]+\/|<bus\/)/ {
        match($0, /[<"][^>"]*[>"]/)
        header = substr($0, RSTART + 1, RLENGTH - 2)
        own = FILENAME
        sub(/^(libbus|busd|tools)\//, "", own)
        if (own ~ /\.h$/)
            print own, header
    }' "${sources[@]}")
if ! loops=$(tsort <<<"$edges" 2>&1 >/dev/null) || [ -n "$loops" ]; then
    echo "an include cycle: $loops"
    bad=1
fi
exit "$bad"
