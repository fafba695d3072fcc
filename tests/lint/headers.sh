#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every header compiles by itself, and the public ones as C++ too. Nothing that is shown to users
# reaches into the library's own folders.
. "$(dirname "$0")/files.sh"

bad=0
flags=(-D_GNU_SOURCE -Wall -Wextra -Werror -fsyntax-only -Ilibbus -Ibusd)
[ -z "${top_builddir:-}" ] || flags+=(-I"$top_builddir/libbus" -I"$top_builddir")

while IFS= read -r header; do
    printf '#include "%s"\n' "$PWD/$header" |
        "${CC:-cc}" -x c -std=c11 "${flags[@]}" - || { echo "$header: not by itself" && bad=1; }
done < <(files 'libbus/*.h' 'busd/*.h')

cxx=
for candidate in c++ clang++; do
    command -v "$candidate" >/dev/null && cxx=$candidate && break
done
if [ -z "$cxx" ]; then
    echo "there is no C++ compiler, so the public headers were not tried as C++"
    [ "$bad" -eq 0 ] && exit 77
    exit 1
fi
while IFS= read -r header; do
    printf '#include <bus/%s>\n' "${header##*/}" |
        "$cxx" -x c++ -std=c++11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -Ilibbus - ||
        { echo "$header: not as C++" && bad=1; }
done < <(files 'libbus/bus/*.h')
exit "$bad"
