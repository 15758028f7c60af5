#!/bin/sh
# Checks an environment for drift, writes the job summary and keeps one issue up to date. With PER_STACK=yes, it keeps
# one issue for each stack with drift. To run it by hand: terraform/ci/drift.sh staging
set -u

environment=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# keep_issue TITLE BODY yes|no: creates or updates the issue if there is drift, closes it if there is none.
keep_issue() {
    # Not piped into head directly: an error of gh must not look like an empty list.
    numbers=$(gh issue list --state open --search "in:title \"$1\"" --json number,title \
        --jq ".[] | select(.title == \"$1\") | .number") || exit
    number=$(printf '%s\n' "$numbers" | head -n 1)
    case $3,$number in
    yes,) gh issue create --title "$1" --body-file "$2" || exit 1 ;;
    yes,*) gh issue edit "$number" --body-file "$2" || exit 1 ;;
    no,) ;;
    no,*) gh issue close "$number" --comment "No drift any more." || exit 1 ;;
    esac
}

crew drift "$environment" --format markdown --reports "$folder" >"$folder/all"
code=$?
cat "$folder/all" >>"${GITHUB_STEP_SUMMARY:-/dev/stdout}"
case $code in
0 | 1 | 2) ;;
*) exit "$code" ;;
esac

# A stack that could not be checked neither creates nor closes an issue.
if [ "${PER_STACK-}" = yes ]; then
    for report in "$folder/$environment".*.drift.md "$folder/$environment".*.clean.md; do
        [ -e "$report" ] || continue
        name=${report##*/"$environment".}
        verdict=${name#*.}
        drifted=no
        [ "$verdict" != drift.md ] || drifted=yes
        keep_issue "Drift in $environment/${name%%.*}" "$report" "$drifted"
    done
elif ls "$folder/$environment".*.drift.md >/dev/null 2>&1; then
    keep_issue "Drift in $environment" "$folder/all" yes
elif [ "$code" -ne 1 ]; then
    keep_issue "Drift in $environment" "$folder/all" no
fi
[ "$code" -ne 1 ]
