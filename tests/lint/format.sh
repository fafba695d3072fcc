#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# clang-format decides how code looks.
. "$(dirname "$0")/files.sh"

command -v clang-format >/dev/null || { echo "clang-format is missing" && exit 77; }
mapfile -t sources < <(files '*.[ch]')
clang-format --dry-run -Werror "${sources[@]}" || {
    echo "to cure it: clang-format -i FILE"
    exit 1
}
