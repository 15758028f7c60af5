#!/bin/sh
# Plans an environment and keeps one comment of a pull request in step with it. By hand: terraform/ci/plan.sh staging 17
set -u

environment=$1 pull_request=$2
mark="<!-- crew stacks plan $environment -->"
body=$(mktemp)
trap 'rm -f "$body"' EXIT

told=$(crew stacks plan "$environment" 2>&1)
code=$?
{
    echo "$mark"
    echo "### Plan for $environment"
    echo
    # A fence that nothing inside can close; a comment holds 65,536 characters.
    echo '~~~~~~~~'
    printf '%s\n' "$told" | cut -c 1-400 | head -c 60000
    echo
    echo '~~~~~~~~'
} >"$body"
cat "$body" >>"${GITHUB_STEP_SUMMARY:-/dev/stdout}"

comment=$(gh api --paginate "repos/{owner}/{repo}/issues/$pull_request/comments" \
    --jq ".[] | select(.body | startswith(\"$mark\")) | .id" | head -n 1)
if [ -n "$comment" ]; then
    gh api --silent --method PATCH "repos/{owner}/{repo}/issues/comments/$comment" --field "body=@$body" || exit 1
else
    gh api --silent "repos/{owner}/{repo}/issues/$pull_request/comments" --field "body=@$body" || exit 1
fi
exit "$code"
