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

number=$(gh issue list --state open --search "in:title \"$title\"" --json number,title \
    --jq ".[] | select(.title == \"$title\") | .number" | head -n 1)

case $code in
2)
    if [ -n "$number" ]; then
        gh issue edit "$number" --body-file "$body"
    else
        gh issue create --title "$title" --body-file "$body"
    fi || exit 1
    ;;
0) if [ -n "$number" ]; then gh issue close "$number" --comment "As it should be again." || exit 1; fi ;;
*) exit "$code" ;;
esac
