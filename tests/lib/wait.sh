# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For system tests in shell: wait for an event, never for a time. Source it:
#
#     . "$top_srcdir/tests/lib/wait.sh"
#     wait_until 30 test -S "$socket" || fail "no socket"

# wait_until SECONDS COMMAND…: runs the command until it succeeds; 1 when it never did.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.02
    done
}
