#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A C++ program includes the public headers, links libbus.so and runs.
set -eu
: "${top_srcdir:?is set by make check}" "${top_builddir:?is set by make check}"
compiler=$(command -v "${CXX:-c++}" || command -v g++ || command -v clang++ || true)
[ -n "$compiler" ] || { echo "no C++ compiler: apt-get install g++" && exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# A library that was built with a sanitizer wants the same of its users.
mapfile -t mode < <(grep -oE -- '-fsanitize=[a-z,]+' "$top_builddir/config.log" | sort -u |
    grep -xE -- '-fsanitize=(address,undefined|thread)' | head -n 1)
grep -qE '^(enable_asan|enable_tsan)=.?yes' "$top_builddir/config.log" || mode=()
"$compiler" -std=c++11 -Wall -Wextra -Werror -pedantic "${mode[@]}" -I"$top_srcdir/libbus" \
    "$top_srcdir/tests/unit/cxx_headers.cc" -o "$work/program" \
    -L"$top_builddir/.libs" -lbus -Wl,-rpath,"$top_builddir/.libs"
"$work/program"
