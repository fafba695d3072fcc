#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs every fuzz target of FUZZ_TARGETS on its kept corpus: with libFuzzer (configure
# --enable-fuzz) for FUZZ_SECONDS each, else every kept input once.
#
# An input that breaks a target is left in tests/fuzz/broken of the build folder: add it to the
# corpus together with the fix.
set -u
: "${top_srcdir:?run by make check}" "${top_builddir:?run by make check}"

seconds=${FUZZ_SECONDS:-5}
[ -n "${FUZZ_TARGETS:-}" ] || { echo "no fuzz targets" && exit 77; }
mkdir -p "$top_builddir/tests/fuzz/broken"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

rc=0
for target in $FUZZ_TARGETS; do
    name=${target##*/fuzz_}
    corpus=$top_srcdir/tests/fuzz/corpus/$name
    mkdir -p "$work/$name"
    if [ ! -d "$corpus" ]; then
        echo "not ok - fuzz $name: the corpus $corpus is missing"
        rc=1
        continue
    fi
    # New inputs go to the first folder, so the corpus of the source tree stays as it is.
    if "$top_builddir/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -max_len=65536 -print_final_stats=1 -verbosity=0 \
        -artifact_prefix="$top_builddir/tests/fuzz/broken/$name-" "$work/$name" "$corpus"; then
        echo "ok - fuzz $name"
    else
        echo "not ok - fuzz $name"
        rc=1
    fi
done
exit "$rc"
