#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every tracked file is in Makefile.am, by its path or by that of a folder it is in: what is not
# there is missing from the tarball, and often from the build.
. "$(dirname "$0")/files.sh"

bad=0
declare -A named
while IFS= read -r word; do
    named[$word]=1
done < <(grep -v '^#' Makefile.am | grep -oE '[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)+')

# A page of MAN_PAGES stands for its .in, see there.
is_named() {
    local path=$1
    [ -z "${named[${path%.in}]:-}" ] || [ "${path%%/*}" != man ] || return 0
    while [[ $path == */* ]]; do
        [ -z "${named[$path]:-}" ] || return 0
        path=${path%/*}
    done
    return 1
}

while IFS= read -r file; do
    is_named "$file" || { echo "$file: not in Makefile.am" && bad=1; }
done < <(files 'libbus/*' 'busd/*' 'tools/*' 'tests/*' 'man/*')
exit "$bad"
