#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# automake's test driver: runs one test under a time limit, keeps what it wrote, and writes the
# results that `make check` counts.
#
# A test may print a line per case, "ok - name" or "not ok - name" (with "# SKIP why" behind an
# ok); each is a result of its own. A test that prints none of them is one case, judged by its exit
# status: 0 passed, 77 skipped, anything else failed.
#
# SHMBUS_TEST_LIMIT_S: seconds a test may take, 1200 unless set. A test that hangs fails.
set -u

test_name='' log_file='' trs_file='' color=no
while [ $# -gt 0 ]; do
    case $1 in
    --test-name) test_name=$2 ;;
    --log-file) log_file=$2 ;;
    --trs-file) trs_file=$2 ;;
    --color-tests) color=$2 ;;
    --expect-failure | --enable-hard-errors | --collect-skipped-logs) ;;
    --) shift && break ;;
    *) echo "driver.sh: unknown option $1" >&2 && exit 2 ;;
    esac
    shift 2
done
if [ -z "$test_name" ] || [ -z "$log_file" ] || [ -z "$trs_file" ] || [ $# -eq 0 ]; then
    echo "driver.sh: to be called by make check" >&2
    exit 2
fi

limit_s=${SHMBUS_TEST_LIMIT_S:-1200}
timeout --kill-after=10 "$limit_s" "$@" >"$log_file" 2>&1 </dev/null
status=$?
if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
    echo "# $test_name: ended by a signal, or not done after $limit_s s" >>"$log_file"
fi

counts=$(LC_ALL=C awk -v status="$status" -v test="$test_name" -v trs="$trs_file" '
    function result(kind, name) {
        count[kind]++
        printf ":test-result: %s %s\n", kind, name >trs
    }
    BEGIN { printf "" >trs }
    /^ok .*# SKIP/ { result("SKIP", substr($0, 4)); next }
    /^ok /         { result("PASS", substr($0, 4)); next }
    /^not ok /     { result("FAIL", substr($0, 8)); next }
    END {
        cases = count["PASS"] + count["FAIL"] + count["SKIP"]
        if (cases == 0)
            result(status == 0 ? "PASS" : status == 77 ? "SKIP" : "FAIL", test)
        else if (status != 0 && (status != 1 || !count["FAIL"]))
            result("FAIL", "exit status " status)
        verdict = count["FAIL"] ? "FAIL" : count["PASS"] ? "PASS" : "SKIP"
        printf ":global-test-result: %s\n", verdict >trs
        printf ":recheck: %s\n", verdict == "FAIL" ? "yes" : "no" >trs
        printf ":copy-in-global-log: %s\n", verdict == "FAIL" ? "yes" : "no" >trs
        print verdict, count["PASS"] + 0, count["FAIL"] + 0, count["SKIP"] + 0
    }' "$log_file")
read -r verdict passed failed skipped <<<"$counts"

on='' off=''
if [ "$color" = yes ]; then
    off=$'\e[m'
    case $verdict in
    PASS) on=$'\e[0;32m' ;;
    SKIP) on=$'\e[1;34m' ;;
    *) on=$'\e[0;31m' ;;
    esac
fi
text="$passed passed"
[ "$failed" -eq 0 ] || text+=", $failed failed"
[ "$skipped" -eq 0 ] || text+=", $skipped skipped"
echo "$on$verdict$off: $test_name: $text"
