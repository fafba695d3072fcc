#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The tests once more, in builds of their own: ASAN_TESTS with the address and undefined behaviour
# sanitizers (with clang also the fuzz targets, under libFuzzer, and its warnings are errors too),
# TSAN_TESTS with the thread sanitizer. make check calls it with these variables; a build that is
# itself one of them skips.
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

# inner COMMAND…: make check, whose cases count as one here; when it fails, all is told. Tests wait
# more than they work.
inner() {
    local status
    "$@" make -j$((2 * jobs)) check TESTS="$tests" >inner.log 2>&1
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
    asan_flags+=(--enable-fuzz --enable-werror CC=clang)
fi
if build asan all-for-check "${asan_flags[@]}"; then
    tests=$ASAN_TESTS
    step "asan tests: $tests" inner env
fi

work=$top_builddir/tsan
if build tsan all-for-check --enable-tsan CFLAGS="-g -O1"; then
    # The thread sanitizer of Debian 12 wants addresses where an older kernel would put them.
    fixed_addresses=(setarch "$(uname -m)" --addr-no-randomize)
    "${fixed_addresses[@]}" true 2>/dev/null || fixed_addresses=(env)
    tests=$TSAN_TESTS
    step "tsan tests: $tests" inner "${fixed_addresses[@]}"
fi
exit "$rc"
