#!/bin/sh
# Checks an environment for drift, writes the job summary and keeps one issue up to date.
# To run it by hand: terraform/ci/drift.sh staging
set -u

environment=$1
title="Drift in $environment"
body=$(mktemp)
trap 'rm -f "$body"' EXIT

crew drift "$environment" --format markdown >"$body"
code=$?
cat "$body" >>"${GITHUB_STEP_SUMMARY:-/dev/stdout}"

case $code in
0) drifted=no ;;
2) drifted=yes ;;
1) # A stack could not be checked, but others can have drift.
    crew drift "$environment" --json | grep '"drifted": true' >/dev/null || exit 1
    drifted=yes
    ;;
*) exit "$code" ;;
esac

# Not piped into head directly: an error of gh must not look like an empty list.
numbers=$(gh issue list --state open --search "in:title \"$title\"" --json number,title \
    --jq ".[] | select(.title == \"$title\") | .number") || exit
number=$(printf '%s\n' "$numbers" | head -n 1)

case $drifted,$number in
yes,) gh issue create --title "$title" --body-file "$body" || exit 1 ;;
yes,*) gh issue edit "$number" --body-file "$body" || exit 1 ;;
no,) ;;
no,*) gh issue close "$number" --comment "No drift any more." || exit 1 ;;
esac
[ "$code" -ne 1 ]
