#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every prototype in a header has a comment right above it; a header says what it is and has its
# guard; every row of a table that people read has a text.
. "$(dirname "$0")/files.sh"

bad=0
mapfile -t headers < <(files 'libbus/*.h' 'busd/*.h' 'tools/*.h' 'tests/*.h')
for header in "${headers[@]}"; do
    awk '
        function complain(why) { printf "%s:%d: %s\n", FILENAME, at ? at : FNR, why; bad = 1 }
        FNR == 2 && $0 !~ /^ \* ./ { at = 2; complain("the second line does not say what this is") }
        in_comment {
            if (/\*\//) { in_comment = 0; documented = 1 }
            next
        }
        in_macro { in_macro = /\\$/; next }
        /^[ \t]*#/ { documented = 0; in_macro = /\\$/; if (/^[ \t]*#[ \t]*ifndef [A-Z0-9_]+_H$/) guarded = 1; next }
        /^[ \t]*\/\*/ && depth == 0 && statement == "" {
            if (/\*\//) documented = 1
            else in_comment = 1
            next
        }
        /^extern "C" *\{/ { next }
        /^\}$/ && depth == 0 { next }
        /^[ \t]*$/ { documented = 0; next }
        {
            if (statement == "" && depth == 0) { at = FNR; above = documented }
            line = $0
            gsub(/\/\*([^*]|\*[^\/])*\*\//, "", line)
            if (line ~ /\/\*/) { sub(/\/\*.*/, "", line); in_comment = 1 }
            statement = statement " " line
            opened = gsub(/\{/, "{", line); closed = gsub(/\}/, "}", line)
            was = depth
            depth += opened - closed
            ends = depth == 0 && (line ~ /;[ \t]*$/ || (was + opened > 0 && closed))
            if (!ends) next
            head = statement
            sub(/\{.*/, "", head)
            sub(/;.*/, "", head)
            is_call = head ~ /^[ \t]*[A-Z_]+\(.*\)[ \t]*$/
            if (head ~ /\(/ && head !~ /^[ \t]*(typedef|_Static_assert|static_assert|struct [a-z_]+[ \t]*$)/ && !is_call && !above)
                complain("a function without a comment right above it:" head)
            statement = ""
            documented = 0
            at = 0
        }
        END {
            at = 1
            if (!guarded) complain("no include guard (FOLDER_FILE_H)")
            exit bad
        }' "$header" || bad=1
done

# X(…, "text"): a row whose last argument is not a text, or is an empty one.
mapfile -t tables < <(files 'libbus/bus/errors.def' 'busd/*/broker.def' 'busd/*/topic.def' \
    'busd/*/metrics.def')
for table in "${tables[@]}"; do
    awk '
        function judge() {
            if (row !~ /"[^"]+"[ \t]*\)[ \t]*$/) {
                printf "%s:%d: a row without a text: %s\n", FILENAME, at, row
                bad = 1
            }
            rows++
            row = ""
        }
        /^X\(/ { at = FNR; row = $0; if (/"[ \t]*\)[ \t]*$/ || /\)[ \t]*$/) judge(); next }
        row != "" { row = row " " $0; if (/\)[ \t]*$/) judge() }
        END {
            if (!rows) { print FILENAME ": no rows"; bad = 1 }
            exit bad
        }' "$table" || bad=1
done
exit "$bad"
