# Updates constraints.txt to the versions that pip chooses today. Usage: constraints.sh [python]
set -eu

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
"${1:-python3}" -m venv "$fresh"
"$fresh/bin/pip" install --quiet --disable-pip-version-check hatchling --editable '.[test]' pip-audit
{
    sed -n '/^#/p' constraints.txt
    "$fresh/bin/pip" freeze --exclude-editable
} >"$fresh/constraints.txt"
cp "$fresh/constraints.txt" constraints.txt
