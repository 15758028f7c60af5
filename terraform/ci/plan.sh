#!/bin/sh
# Plans an environment, only reading, into the summary of the job, and keeps one comment of a pull request in step with
# it. By hand: terraform/ci/plan.sh staging 17, or without a comment: terraform/ci/plan.sh staging
set -u

environment=$1 pull_request=${2-}
mark="<!-- crew stacks plan $environment -->"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
told=$folder/told errors=$folder/errors body=$folder/body

crew stacks plan "$environment" --no-lock >"$told" 2>"$errors"
code=$?
cat "$errors" >&2
# What is said beside a plan belongs into the job's log; of one that failed it is the reason.
[ "$code" -eq 0 ] || tail -n 20 "$errors" >>"$told"
{
    echo "$mark"
    echo "### Plan for $environment"
    echo
    # A fence that nothing inside can close; a comment holds 65,536 characters.
    echo '~~~~~~~~'
    cut -c 1-400 "$told" | head -c 60000
    echo
    echo '~~~~~~~~'
} >"$body"
cat "$body" >>"${GITHUB_STEP_SUMMARY:-/dev/stdout}"
[ -n "$pull_request" ] || exit "$code"

# Not in one pipe with head: a list that could not be had is no empty list.
comments=$(gh api --paginate "repos/{owner}/{repo}/issues/$pull_request/comments" \
    --jq ".[] | select(.body | startswith(\"$mark\")) | .id") || exit
comment=$(printf '%s\n' "$comments" | head -n 1)
if [ -n "$comment" ]; then
    gh api --silent --method PATCH "repos/{owner}/{repo}/issues/comments/$comment" --field "body=@$body" || exit 1
else
    gh api --silent "repos/{owner}/{repo}/issues/$pull_request/comments" --field "body=@$body" || exit 1
fi
exit "$code"
