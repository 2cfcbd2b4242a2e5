#!/bin/sh
# A group that grows from one to five and shrinks to three, with a member wiped and replaced, while many send and with a log
# that takes some time to fetch: the cases of tests/integration/run-membership.sh.
#
# Usage: tests/raft-log/run-membership.sh [OPTION...]      see there
set -eu

exec "$(dirname "$0")/../integration/run-membership.sh" --log 400 --senders 8 "$@"
