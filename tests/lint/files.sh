# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For the lints: which files there are. Sourced; leaves the shell in the top of the source tree.
set -eu
cd "${top_srcdir:-$(dirname "${BASH_SOURCE[0]}")/../..}"

# files PATTERN…: the tracked files whose path matches one of the shell patterns; without git (a
# tarball) those of the folders that the tarball brings.
files() {
    local list
    if [ -e .git ] && command -v git >/dev/null; then
        list=$(git -c safe.directory='*' ls-files)
    else
        list=$(find libbus busd tools tests man bindings .ci quickstart -type f 2>/dev/null || true)
    fi
    local path pattern
    while IFS= read -r path; do
        for pattern in "$@"; do
            # shellcheck disable=SC2053 # the right side is a pattern, as the name says
            if [[ $path == $pattern && -f $path ]]; then
                printf '%s\n' "$path"
                break
            fi
        done
    done <<<"$list"
}
