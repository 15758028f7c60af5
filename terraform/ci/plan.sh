#!/bin/sh
# Plans an environment without a lock, writes the plan to the job summary and keeps one comment of a pull request up to
# date. To run it by hand: terraform/ci/plan.sh staging 17, or without a comment: terraform/ci/plan.sh staging
# With KEEP=yes, it keeps the plan in the store and writes its ID to the step's output `kept`.
set -u

environment=$1 pull_request=${2-}
keep=
[ "${KEEP-}" != yes ] || keep=--keep
mark="<!-- crew stacks plan $environment -->"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
plan=$folder/plan errors=$folder/errors body=$folder/body

crew stacks plan "$environment" --no-lock $keep >"$plan" 2>"$errors"
code=$?
# crew prints the ID as its last line. No other line of a plan begins like this: they name a stack or are indented.
[ -z "$keep" ] || sed -n '$s/^kept as \([0-9a-f-]*\)$/kept=\1/p' "$plan" >>"${GITHUB_OUTPUT:-/dev/stdout}"
cat "$errors" >&2
# Errors go to the job's log. If the plan failed, the comment shows the last of them too.
[ "$code" -eq 0 ] || tail -n 20 "$errors" >>"$plan"
{
    echo "$mark"
    echo "### Plan for $environment"
    echo
    # Eight tildes: no plan contains them. GitHub limits a comment to 65,536 characters.
    echo '~~~~~~~~'
    cut -c 1-400 "$plan" | head -c 60000
    echo
    echo '~~~~~~~~'
} >"$body"
cat "$body" >>"${GITHUB_STEP_SUMMARY:-/dev/stdout}"
[ -n "$pull_request" ] || exit "$code"

# Not piped into head directly: an error of gh must not look like an empty list.
comments=$(gh api --paginate "repos/{owner}/{repo}/issues/$pull_request/comments" \
    --jq ".[] | select(.body | startswith(\"$mark\")) | .id") || exit
comment=$(printf '%s\n' "$comments" | head -n 1)
if [ -n "$comment" ]; then
    gh api --silent --method PATCH "repos/{owner}/{repo}/issues/comments/$comment" --field "body=@$body" || exit 1
else
    gh api --silent "repos/{owner}/{repo}/issues/$pull_request/comments" --field "body=@$body" || exit 1
fi
exit "$code"
