#!/bin/sh
# Records a test run, and fails if it needs more than the committed profile allows. What it needs is
# then in COMMITTED.new.
#
#     profile-in-ci.sh COMMITTED -- COMMAND...
#
# Exit codes: 0 the profile is wide enough; 1 it is not, or the recording is not complete;
# 2 wrong usage; anything else: the command's own, if it fails.
set -u
spo=${SPO:-spo}

[ $# -ge 3 ] && [ "$2" = -- ] || { echo "usage: $0 COMMITTED -- COMMAND..." >&2; exit 2; }
committed=$1
shift 2

recorded=$(mktemp)
trap 'rm -f "$recorded"' EXIT

"$spo" check "$committed" || exit 1
"$spo" record -o "$recorded" -- "$@" || exit $?

# A recording that is not whole proves nothing.
grep -q 'recording-lost: "0"' "$recorded" || { echo "the recording lost something" >&2; exit 1; }
if grep -q recording-partial "$recorded"; then
    echo "the recording is partial" >&2
    exit 1
fi

if "$spo" merge --check "$committed" "$recorded"; then
    exit 0
fi
if "$spo" merge -o "$committed.new" "$committed" "$recorded"; then
    echo "The tests need more than $committed allows (see above)." >&2
    echo "If that is meant, commit $committed.new in its place." >&2
else
    echo "$committed cannot be compared with a recording (see above)." >&2
fi
exit 1
