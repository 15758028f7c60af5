#!/bin/sh
# Looks at an environment, writes the summary, and keeps one issue in step with it. By hand: terraform/ci/drift.sh staging
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
1) # A stack could not be looked at, and others may have drifted all the same.
    crew drift "$environment" --json | grep '"drifted": true' >/dev/null || exit 1
    drifted=yes
    ;;
*) exit "$code" ;;
esac

# Not in one pipe with head: a list that could not be had is no empty list.
numbers=$(gh issue list --state open --search "in:title \"$title\"" --json number,title \
    --jq ".[] | select(.title == \"$title\") | .number") || exit
number=$(printf '%s\n' "$numbers" | head -n 1)

case $drifted,$number in
yes,) gh issue create --title "$title" --body-file "$body" || exit 1 ;;
yes,*) gh issue edit "$number" --body-file "$body" || exit 1 ;;
no,) ;;
no,*) gh issue close "$number" --comment "As it should be again." || exit 1 ;;
esac
[ "$code" -ne 1 ]
