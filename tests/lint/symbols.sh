#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The names that the linker sees: no function or variable is in two of our libraries, since a program
# with both takes either of them in silence; libbus.so shows the functions of its headers, and only
# these.
. "$(dirname "$0")/files.sh"
: "${top_builddir:?run by make check}"

command -v nm >/dev/null || { echo "nm is missing" && exit 77; }
[ "${SANITIZED:-no}" = no ] || { echo "a sanitizer has names of its own" && exit 77; }
bad=0

twice=$(for library in base record protocol shm client busd busctl; do
    nm -g --defined-only "$top_builddir/.libs/lib$library.a" 2>/dev/null |
        awk 'NF == 3 { print $3 }' | sort -u
done | sort | uniq -d)
[ -z "$twice" ] || { printf 'in two libraries:\n%s\n' "$twice" && bad=1; }

shown=$(nm -D --defined-only "$top_builddir/.libs/libbus.so" | awk '$2 != "A" { print $3 }' |
    sed 's/@.*//' | sort -u)
declared=$(files 'libbus/bus/*.h' | while IFS= read -r header; do
    printf '#include <bus/%s>\n' "${header##*/}"
done | "${CC%% *}" -x c -std=c11 -Ilibbus -E -P - | tr '\n;' ' \n' |
    grep -v '^ *typedef' | grep -oE '\bbus_[a-z0-9_]+ *\(' |
    tr -d ' (' | sort -u)
[ -n "$shown" ] || { echo "libbus.so shows nothing" && bad=1; }
differ=$(diff <(printf '%s\n' "$declared") <(printf '%s\n' "$shown") | grep '^[<>]' || true)
if [ -n "$differ" ]; then
    printf 'libbus.so and its headers differ (< declared, > shown):\n%s\n' "$differ"
    bad=1
fi
exit "$bad"
