#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What must not be written: calls that overrun or hide errors, loose ends, sleeps in tests.
. "$(dirname "$0")/files.sh"

bad=0
# complain WHY MATCHES: prints them when there are any.
complain() {
    [ -n "$2" ] || return 0
    printf '%s:\n%s\n' "$1" "$2"
    bad=1
}

mapfile -t code < <(files '*.[ch]')
mapfile -t text < <(files '*.[ch]' '*.def' '*.py' '*.sh' '*.md' '*.ac' '*.am' '*.in' quickstart)
mapfile -t tests < <(files 'tests/*.c' 'tests/*.h' 'tests/*.py' 'tests/*.sh')

calls='sprintf|vsprintf|strcpy|stpcpy|strcat|strncat|strncpy|atoi|atol|atoll|atof|strtok|gets|alloca'
complain "a banned call (snprintf, memcpy, strtol, strsep, malloc serve)" \
    "$(grep -nE "\b($calls)[[:space:]]*\(" "${code[@]}" || true)"
complain "no typedef of a struct, union or enum: write the word" \
    "$(grep -nE '^[[:space:]]*typedef[[:space:]]+(struct|union|enum)\b' "${code[@]}" || true)"
complain "a loose end: finish it, or file an issue" \
    "$(grep -nE '\b(TO[D]O|FIX[M]E|XX[X]|HAC[K])\b' "${text[@]}" || true)"

# A test waits on an event with a deadline. waiting.py is that wait: it looks, and looks again, until
# the deadline. In faultshim.c the delay is the fault itself.
mapfile -t judged < <(printf '%s\n' "${tests[@]}" |
    grep -vE '^tests/lib/(waiting\.py|faultshim\.c)$|^tests/lint/')
complain "a test that sleeps (use wait_until of tests/lib, or wait on the event)" \
    "$(grep -nE '\b(sleep|usleep|nanosleep|clock_nanosleep)[[:space:]]*\(|^[^#]*\bsleep [0-9$]' \
        "${judged[@]}" || true)"

for file in "${code[@]}"; do
    head -n 1 "$file" | grep -q '^/\* SPDX-License-Identifier: Apache-2\.0' ||
        complain "the first line is not the SPDX line" "$file"
done
exit "$bad"
