# Runs before PostgreSQL starts, as root. It refuses to start a former primary: after it was fenced, or if one of its
# peers was promoted while this host was down. Variables before this text: data, fenced, programs, peers, patience.
set -u
cd /

refuse() {
  echo "groundcrew: PostgreSQL is not started: $1" >&2
  exit 1
}

refuse_fenced() {
  refuse "$(head -n 1 "$fenced" | tr -cd 'a-zA-Z0-9._-') was promoted in place of this server, which must not start as a \
primary again. Let it join: deploys/postgres_promote.py --data rejoin=HOST. If the promotion was a mistake, stop the other \
server, then remove $fenced and $data/standby.signal."
}

[ ! -e "$fenced" ] || refuse_fenced
# A standby follows whatever its primary does. During a restore, the control file has the timeline of the backup.
[ ! -e "$data/standby.signal" ] && [ ! -e "$data/recovery.signal" ] || exit 0
control=$(LC_ALL=C "$programs/pg_controldata" "$data" 2>/dev/null) || exit 0
system=$(echo "$control" | sed -n 's/^Database system identifier: *//p')
timeline=$(echo "$control" | sed -n "s/^Latest checkpoint's TimeLineID: *//p")

# Fences this server if a peer was promoted. Sets `silent` to the peers that did not answer.
ask_peers() {
  silent=
  while IFS='|' read -r name connection; do
    answer=$(runuser --user postgres -- timeout 10 psql --no-psqlrc --no-password --tuples-only --no-align \
      --dbname="$connection replication=true connect_timeout=3" --command=IDENTIFY_SYSTEM 2>/dev/null </dev/null)
    if ! theirs=$(echo "$answer" | cut -d '|' -f 2 | grep -x '[0-9][0-9]*'); then
      silent="${silent:+$silent, }$name"
    elif [ "$(echo "$answer" | cut -d '|' -f 1)" = "$system" ] && [ "$theirs" -gt "$timeline" ]; then
      printf '%s\n%s\n' "$name" "$(date --utc +%Y-%m-%dT%H:%M:%SZ)" > "$fenced.new"
      mv "$fenced.new" "$fenced"
      runuser --user postgres -- touch "$data/standby.signal"
      refuse_fenced
    fi
  done <<END
$peers
END
}

boots() { systemctl is-system-running | grep --quiet -x -e initializing -e starting; }
seconds() { cut -d . -f 1 /proc/uptime; }

[ -n "$peers" ] || exit 0
give_up=$(($(seconds) + patience))
ask_peers
[ -n "$silent" ] || exit 0
# While the host boots, the network may not be up yet. The server that was promoted may be the last one to answer.
! boots || echo "groundcrew: waiting up to $patience s for $silent" >&2
while [ -n "$silent" ] && boots && [ "$(seconds)" -lt "$give_up" ]; do
  sleep 1
  ask_peers
done
[ -z "$silent" ] || echo "groundcrew: PostgreSQL starts, but these servers did not answer: $silent. Check with \
deploys/postgres_promote.py that none of them was promoted. If one was, stop PostgreSQL here, then let this host join: \
deploys/postgres_promote.py --data rejoin=HOST." >&2
