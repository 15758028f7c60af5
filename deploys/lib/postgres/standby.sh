# Makes the cluster of this host a standby, and waits until it streams. If it is interrupted, the next run starts again.
# With the argument "start", the cluster is there already. Variables before this text:
# data, keep, unit, slot, folder, programs, primary, restore, psql, server_log.
set -eu
cd /
umask 077

say() { echo "groundcrew: $*"; }
as_postgres() { runuser --user postgres -- "$@"; }
ask() { echo "$1" | sh -c "$psql" 2>/dev/null; }
is_alive() { pid=$(head -n 1 "$data/postmaster.pid" 2>/dev/null) && kill -0 "$pid" 2>/dev/null; }

# 0 as soon as the standby streams, 1 if it stopped, or neither starts to stream nor replays anything for a minute.
streams() {
  tries=60 last=
  while [ "$(ask 'SELECT status FROM pg_catalog.pg_stat_wal_receiver')" != streaming ]; do
    now=$(ask 'SELECT pg_catalog.pg_last_wal_replay_lsn()' || true)
    now=${now:-$(LC_ALL=C "$programs/pg_controldata" "$data" | grep '^Minimum recovery ending location')}
    [ "$now" = "$last" ] || tries=60
    last=$now tries=$((tries - 1))
    if [ $tries = 0 ] || { ! is_alive && [ $tries -lt 40 ]; }; then return 1; fi
    sleep 1
  done
}

printf '%s\n' "$keep" > "$folder/new"
mv "$folder/new" "$folder/unfinished"
if [ "${1:-}" != start ]; then
  systemctl stop "$unit"
  if [ -n "$keep" ] && [ ! -e "$keep" ] && [ -e "$data" ]; then as_postgres mv "$data" "$keep"; fi
  if [ -n "$restore" ]; then
    as_postgres mkdir -p -m 700 "$data"
    as_postgres sh -c "$restore" || { say "pgBackRest could not restore the newest backup."; exit 1; }
  else
    rm -rf "$data"
    as_postgres mkdir -m 700 "$data"
    as_postgres "$programs/pg_basebackup" --dbname="$primary" --pgdata="$data" --slot="$slot" --wal-method=stream \
      --checkpoint=fast --no-password || { say "pg_basebackup could not copy the primary."; exit 1; }
  fi
fi
as_postgres touch "$data/standby.signal"
rm -f "$folder/fenced"
size=$(stat -c %s "$server_log" 2>/dev/null || echo 0)
systemctl start "$unit" || true
if ! streams; then
  say "The standby does not stream from its primary. Its log says:"
  tail -c +$((size + 1)) "$server_log" | grep -E 'FATAL|PANIC|ERROR' | tail -n 4
  exit 1
fi
rm -f "$folder/unfinished" "$folder/rewinding"
