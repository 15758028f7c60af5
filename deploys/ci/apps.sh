#!/bin/sh
# Deploys the apps of an environment to its cluster, records what passed, and shows what runs. The variables
# HOSTS_SSH_KEY and HOSTS_KNOWN_HOSTS have the SSH key and the public keys of the servers; without them, pyinfra uses
# yours. To run it by hand: deploys/ci/apps.sh staging
set -eu

environment=$1
if [ -n "${GITHUB_ACTIONS-}" ] && ! git merge-base --is-ancestor HEAD origin/main; then
    echo "HEAD is not part of the branch main, so nobody has reviewed it; merge it first" >&2
    exit 1
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 143' TERM INT
umask 077
set -- --data ssh_strict_host_key_checking=yes --data apps_record=true
if [ -n "${HOSTS_SSH_KEY-}" ]; then
    printf '%s\n' "$HOSTS_SSH_KEY" >"$folder/key"
    set -- "$@" --data "ssh_key=$folder/key"
fi
if [ -n "${HOSTS_KNOWN_HOSTS-}" ]; then
    printf '%s\n' "$HOSTS_KNOWN_HOSTS" >"$folder/known_hosts"
    set -- "$@" --data "ssh_known_hosts_file=$folder/known_hosts"
fi
unset HOSTS_SSH_KEY HOSTS_KNOWN_HOSTS
pyinfra -y "$@" "inventories/$environment" deploys/k3s_apps.py
crew apps "$environment"
