#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The end of `make check`: the logs of the tests that failed, then the line "N passed, N failed".
# A test that has no result (the build broke before it ran) has failed.
#
# summary.sh TEST.log…   from the build folder; exit status 1 when anything failed
set -u

passed=0 failed=0 skipped=0
for log in "$@"; do
    trs=${log%.log}.trs
    if [ ! -f "$trs" ]; then
        echo "NOT RUN: ${log%.log}"
        failed=$((failed + 1))
        continue
    fi
    passed=$((passed + $(grep -c '^:test-result: PASS' "$trs")))
    skipped=$((skipped + $(grep -c '^:test-result: SKIP' "$trs")))
    here=$(grep -c '^:test-result: \(FAIL\|ERROR\|XPASS\)' "$trs")
    failed=$((failed + here))
    if [ "$here" -gt 0 ]; then
        echo "FAILED: ${log%.log} ($here); the end of $PWD/$log:"
        grep -a '^not ok' "$log" | head -n 40 | sed 's/^/    /'
        tail -n 80 "$log" | sed 's/^/  | /'
    fi
    sed -n 's/^:test-result: SKIP \(.*\)/skipped: \1/p' "$trs"
done
[ "$skipped" -eq 0 ] || echo "skipped cases: $skipped"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
