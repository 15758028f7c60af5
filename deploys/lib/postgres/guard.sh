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

# Returns 1 after it fenced this server because a peer was promoted, and 2 if no peer answered.
ask_peers() {
  found=2
  while IFS='|' read -r name connection; do
    answer=$(runuser --user postgres -- timeout 10 psql --no-psqlrc --no-password --tuples-only --no-align \
      --dbname="$connection replication=true connect_timeout=3" --command=IDENTIFY_SYSTEM 2>/dev/null </dev/null) || continue
    theirs=$(echo "$answer" | cut -d '|' -f 2 | grep -x '[0-9]*') || continue
    found=0
    if [ "$(echo "$answer" | cut -d '|' -f 1)" = "$system" ] && [ "$theirs" -gt "$timeline" ]; then
      printf '%s\n%s\n' "$name" "$(date --utc +%Y-%m-%dT%H:%M:%SZ)" > "$fenced.new"
      mv "$fenced.new" "$fenced"
      runuser --user postgres -- touch "$data/standby.signal"
      return 1
    fi
  done <<END
$peers
END
  return $found
}

boots() { systemctl is-system-running | grep --quiet -x -e initializing -e starting; }
seconds() { cut -d . -f 1 /proc/uptime; }

[ -n "$peers" ] || exit 0
give_up=$(($(seconds) + patience))
while :; do
  ask_peers
  case $? in
    0) exit 0 ;;
    1) refuse_fenced ;;
  esac
  # The network may not be up yet while the host boots.
  boots && [ "$(seconds)" -lt "$give_up" ] || exit 0
  sleep 1
done
