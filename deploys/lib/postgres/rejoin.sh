# Makes a former primary a standby of the new one. First it names what only this host has. If it is interrupted, the next
# run starts again. Variables before this text: data, unit, folder, programs, primary, config, winner, report, build,
# restore_wal, lose.
set -eu
cd /
umask 077

say() { echo "groundcrew: $*"; }
as_postgres() { runuser --user postgres -- "$@"; }
# A killed run, or one whose server started too slowly, can have left the read-only server running.
stop_server() { as_postgres "$programs/pg_ctl" --pgdata="$data" --wait --mode=fast stop >/dev/null 2>&1 || true; }
ask() { as_postgres psql --no-psqlrc --no-password --tuples-only --no-align --dbname="$primary replication=true" --command="$1"; }

[ -e "$folder/fenced" ] || { printf '%s\n' "$winner" > "$folder/new"; mv "$folder/new" "$folder/fenced"; }
systemctl stop "$unit"
as_postgres touch "$data/standby.signal"
timeline=$(ask IDENTIFY_SYSTEM | cut -d '|' -f 2)
if [ ! -e "$folder/rewinding" ] && [ -z "$lose" ]; then
  rm -f "$folder/report"
  stop_server
  split="$folder/split-$(date --utc +%Y%m%dT%H%M%SZ)"
  mkdir -m 700 "$split"
  chown postgres:postgres "$split"
  if [ "$timeline" -gt 1 ]; then history=$(ask "TIMELINE_HISTORY $timeline" | cut -d '|' -f 2-); else history=; fi
  echo "$history" | as_postgres python3 "$report" "$data" "$config" "$programs" "$timeline" "$split" ||
    { say "What only this host has could not be named, so it stays. To discard it unseen, add --data lose=yes."; exit 1; }
  stop_server
  printf '%s\n' "$split" > "$folder/report"
  # pg_rewind can't be repeated once it has begun. After an interruption, the standby is made again.
  touch "$folder/rewinding"
  # It recovers a cluster that crashed, which works only without this file.
  rm -f "$data/standby.signal"
  if as_postgres "$programs/pg_rewind" --target-pgdata="$data" --source-server="$primary dbname=postgres" \
    --config-file="$config" $restore_wal; then
    rm -rf "$data/pg_replslot/"*
    say "It was rewound to the split."
    sh "$build" start
    exit
  fi
  say "pg_rewind failed (the reason is above), so the standby was made again from a copy."
fi
sh "$build"
