#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The man pages as built are clean mdoc, and no mark of the build is left in them.
: "${top_builddir:?run by make check}"

[ -n "${MAN_PAGES:-}" ] || { echo "no man pages" && exit 77; }
command -v groff >/dev/null || { echo "groff is missing" && exit 77; }
bad=0
for page in $MAN_PAGES; do
    warnings=$(groff -mdoc -ww -z -Tutf8 -K utf8 "$top_builddir/$page" 2>&1)
    if [ -n "$warnings" ]; then
        printf '%s\n' "$warnings"
        bad=1
    fi
    if command -v mandoc >/dev/null && ! mandoc -T lint -W warning "$top_builddir/$page"; then
        bad=1
    fi
    grep -nE '@[A-Za-z_]+( [a-z]+)?@' "$top_builddir/$page" && bad=1
done
exit "$bad"
