# Restores a PostgreSQL cluster. Each step can be interrupted: the next run starts it again, or finds it done.
# Variables before this text: to, data, keep, unit, server_log, folder, restore, check, backup, psql.
set -eu
cd /
umask 077

say() { echo "groundcrew: $*"; }
as_postgres() { runuser --user postgres -- "$@"; }
ask() { sh -c "$psql" <<EOF 2>/dev/null
$1
EOF
}
is_alive() { pid=$(head -n 1 "$data/postmaster.pid" 2>/dev/null) && kill -0 "$pid" 2>/dev/null; }

# 0 as soon as PostgreSQL accepts writes, 1 if it does not run any more.
recovered() {
  tries=20
  while [ "$(ask 'SELECT pg_catalog.pg_is_in_recovery()')" != f ]; do
    if ! is_alive; then
      tries=$((tries - 1))
      [ $tries -gt 0 ] || return 1
    fi
    sleep 0.5
  done
}

last_transaction="
  SELECT pg_catalog.to_char(pg_catalog.pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"

printf '%s\n' "$to" "$keep" > "$folder/new"
mv "$folder/new" "$folder/unfinished"
rm -f "$folder/finished"
systemctl stop 'groundcrew-pitr-*.timer' 'groundcrew-pitr-backup@*.service'

if [ "$(head -n 1 "$folder/recovered" 2>/dev/null)" != "$to" ]; then
  rm -f "$folder/recovered"
  systemctl stop "$unit"
  if [ -n "$keep" ] && [ ! -e "$keep" ] && [ -e "$data" ]; then as_postgres mv "$data" "$keep"; fi
  as_postgres mkdir -p -m 700 "$data"
  as_postgres sh -c "$restore"
  size=$(stat -c %s "$server_log" 2>/dev/null || echo 0)
  systemctl start "$unit" || true
  if ! recovered; then
    systemctl stop "$unit"
    say "PostgreSQL did not reach $to, and is stopped. Its log says:"
    tail -c +$((size + 1)) "$server_log" | grep -E 'FATAL|PANIC|last completed transaction' | tail -n 8
    [ -z "$keep" ] || say "The old cluster is in $keep."
    say "If the archive ends before that moment, restore the last one that it has with to=latest."
    exit 1
  fi
  moment=$(ask "$last_transaction")
  printf '%s\n' "$to" "restored up to the transaction of ${moment:-the end of the backup}${moment:+ UTC}" > "$folder/new"
  mv "$folder/new" "$folder/recovered"
fi

sh -c "$check" || { say "The cluster is restored and open, but its WAL does not reach the repositories."; exit 1; }
# The next scheduled backup removes expired ones. Until then, another moment can be restored instead.
as_postgres "$backup" full --no-expire-auto || { say "The cluster is restored and open, but a new backup failed."; exit 1; }

cp "$folder/recovered" "$folder/new"
[ -z "$keep" ] || echo "the old cluster is in $keep; remove it when you no longer need it" >> "$folder/new"
echo "a new full backup is in each repository" >> "$folder/new"
mv "$folder/new" "$folder/finished"
rm -f "$folder/recovered" "$folder/unfinished"
