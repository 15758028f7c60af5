# Installs what the tests want of Debian, or the packages that are named, where this machine lacks them. Not as root,
# or elsewhere: says nothing, does nothing; the tests that want it are then left out, and say so.
set -eu

tests="age chromium debootstrap git iproute2 nftables openssh-client openssh-server postgresql-15 postgresql-client-15 procps"
tests="$tests prometheus python3-venv systemd systemd-container util-linux zsh zstd"
wanted=${*:-$tests}

[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 0

missing=""
for package in $wanted; do
    dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
echo "Installing$missing"

# Nothing that is installed here is to be started: the tests start servers of their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
# shellcheck disable=SC2086
{ apt-get update && apt-get install --yes --no-install-recommends $missing; } </dev/null >"$log" 2>&1 || {
    cat "$log" >&2
    echo "apt could not install$missing" >&2
    exit 1
}
rm -f "$log"
