#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every script under the eyes of shellcheck.
. "$(dirname "$0")/files.sh"

command -v shellcheck >/dev/null || { echo "shellcheck is missing" && exit 77; }
scripts=()
while IFS= read -r file; do
    case $file in
    *.sh) scripts+=("$file") ;;
    *) head -n 1 "$file" | LC_ALL=C grep -aqE '^#!.*\b(ba)?sh\b' && scripts+=("$file") ;;
    esac
done < <(files '*')
# 1091: a sourced file is found only at run time. 2317: a function that is called by its name in a
# variable looks unreachable.
shellcheck --exclude=SC1091,SC2317 "${scripts[@]}"
