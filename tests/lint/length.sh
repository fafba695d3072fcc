#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A function fits on a screen or two (70 lines), a file in a head (1000).
. "$(dirname "$0")/files.sh"

function_lines_max=70
file_lines_max=1000
bad=0

while IFS= read -r file; do
    lines=$(wc -l <"$file")
    if [ "$lines" -gt "$file_lines_max" ]; then
        echo "$file: $lines lines, the limit is $file_lines_max"
        bad=1
    fi
done < <(files '*.[ch]' '*.py' '*.sh' '*.def' quickstart)

if ! ctags --version 2>/dev/null | grep -q Universal; then
    echo "universal-ctags is missing, so functions were not measured"
    [ "$bad" -eq 0 ] && exit 77
    exit 1
fi
mapfile -t sources < <(files '*.[ch]')
ctags --languages=C --langmap=C:.c.h --kinds-C=f --fields=ne -o - "${sources[@]}" |
    awk -F '\t' -v limit="$function_lines_max" '
        {
            first = last = 0
            for (i = 3; i <= NF; i++) {
                if ($i ~ /^line:/)
                    first = substr($i, 6) + 0
                if ($i ~ /^end:/)
                    last = substr($i, 5) + 0
            }
            measured++
            if (last - first + 1 > limit) {
                printf "%s:%d: %s has %d lines, the limit is %d\n", $2, first, $1, last - first + 1, limit
                bad = 1
            }
        }
        END {
            if (!measured) {
                print "no function found"
                bad = 1
            }
            exit bad
        }' || bad=1
exit "$bad"
