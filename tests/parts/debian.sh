# Installs packages of Debian or Ubuntu that this machine lacks: those that the tests use, or those that are named.
# It prints what it installs and why. As an ordinary user, or on another system, it installs nothing; the tests that
# need such a package are then left out, and `make test` lists them at the end.
set -eu

[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 0

# The version of the distribution's PostgreSQL, or N before the first apt-get update.
major() {
    depends=$(apt-cache show postgresql 2>/dev/null | sed -n 's/^Depends: postgresql-\([0-9]*\).*/\1/p' | head -n 1)
    echo "${depends:-N}"
}

# No name has a version in it: each release has its own.
packages() {
    sed "s/-N-/-$(major)-/" <<'END'
age                 the README decrypts a backup set without groundcrew
bubblewrap          verifications isolate what a backup set executes
chromium            the status page is looked at in a browser
debian-archive-keyring the lab checks the packages of its hosts with it
debootstrap         the lab makes hosts with it
git                 scripts and hooks run on a repository
iproute2            the lab's network
locales             a database formats money as in another country
nftables            the lab's firewall
openssh-client      tunnels, and the deploys in the lab
openssh-server      tunnels end at a real sshd
openssl             servers with certificates
pgbackrest          verifications restore a stanza
postgresql          the distribution's own server, and pg_dump of its version
postgresql-client   the same
postgresql-N-cron   an extension that needs a preloaded library and one named database
postgresql-N-partman an extension with user data in its tables
postgresql-N-pgaudit an extension that needs a preloaded library
postgresql-N-postgis-3 an extension with members of all kinds, and sequences of its own
procps              tests look at processes
prometheus          promtool checks the rules for alerts; it scrapes our metrics
prometheus-pushgateway runs push their metrics to it
python3-venv        everything that pip installs goes into .venv
systemd             systemd-analyze checks the exported timers
systemd-container   the lab boots hosts with systemd-nspawn
util-linux          the lab, and PostgreSQL as root
zsh                 completions are tried in it
zstd                the README decompresses a backup set without groundcrew
END
}

missing=""
for package in ${*:-$(packages | cut -d ' ' -f 1)}; do
    dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
    DEBIAN_FRONTEND=noninteractive apt-get "$@" </dev/null >"$log" 2>&1 || {
        cat "$log" >&2
        echo "apt-get $* failed; see above" >&2
        exit 1
    }
}
apt update

# Ubuntu has no package chromium, for one. On a new system, the version is known only now.
wanted=""
for package in $(echo "$missing" | sed "s/-N-/-$(major)-/g"); do
    if [ -n "$(apt-cache madison "$package")" ]; then
        wanted="$wanted $package"
    elif [ $# -gt 0 ]; then
        echo "apt has no package $package; install it in another way" >&2
        exit 1
    fi
done
[ -n "$wanted" ] || exit 0
echo "Installing with apt:"
for package in $wanted; do
    packages | grep "^$package " | sed 's/^/  /' || echo "  $package"
done

# Do not start what is installed: the tests start servers of their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f "$log" $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
fi
# shellcheck disable=SC2086
apt install --yes --no-install-recommends $wanted
