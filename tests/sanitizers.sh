#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The tests once more, in builds of their own: with the address and undefined behaviour sanitizers
# (ASAN_TESTS; with clang also the fuzz targets, under libFuzzer), and the unit suites TSAN_SUITES
# with the thread sanitizer. make check calls it with these variables; a build that is itself one of
# them skips.
set -u
: "${top_srcdir:?run by make check}" "${top_builddir:?run by make check}"

if [ "${SANITIZED:-no}" = yes ]; then
    echo "this build has a sanitizer already"
    exit 77
fi
jobs=${SHMBUS_JOBS:-2}
# From within make check: the make in there must not look for the job server of the outer one.
unset MAKEFLAGS MFLAGS MAKELEVEL TESTS TEST_LOGS
rc=0

# step NAME COMMAND…: one case, in the folder $work.
step() {
    local name=$1
    shift
    echo "# $name: $*"
    if (cd "$work" && "$@"); then
        echo "ok - $name"
    else
        echo "not ok - $name"
        rc=1
        return 1
    fi
}

# build NAME TARGET FLAG…: configures with the flags and builds the target in the folder $work.
build() {
    local name=$1 target=$2
    shift 2
    mkdir -p "$work"
    step "$name configures" "$top_srcdir/configure" --quiet "$@" &&
        step "$name builds" make --quiet -j"$jobs" "$target"
}

# The cases inside count under the name of the build; what is not a case is told as a comment.
inner() {
    local status
    make -j"$jobs" check "$@" >inner.log 2>&1
    status=$?
    if [ "$status" -ne 0 ]; then
        sed 's/^/#   /' inner.log
    fi
    tail -n 3 inner.log | sed 's/^/# /'
    return "$status"
}

export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:halt_on_error=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1

work=$top_builddir/asan
asan_flags=(--enable-asan CFLAGS="-g -O1")
if command -v clang >/dev/null; then
    asan_flags+=(--enable-fuzz CC=clang)
fi
if build asan all-for-check "${asan_flags[@]}"; then
    step "asan tests: $ASAN_TESTS" inner TESTS="$ASAN_TESTS"
fi

work=$top_builddir/tsan
if build tsan unit-for-check --enable-tsan CFLAGS="-g -O1"; then
    # The thread sanitizer of Debian 12 wants addresses where an older kernel would put them.
    fixed_addresses=(setarch "$(uname -m)" --addr-no-randomize)
    "${fixed_addresses[@]}" true 2>/dev/null || fixed_addresses=()
    # shellcheck disable=SC2086 # a list of suites
    step "tsan suites: $TSAN_SUITES" "${fixed_addresses[@]}" ./tests/unit/unit $TSAN_SUITES
fi
exit "$rc"
