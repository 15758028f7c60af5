# Upgrades a PostgreSQL cluster to a new major version with pg_upgrade. Each step can be interrupted: the next run starts
# it again, or finds it done. Until the file `opened` exists, the old cluster is whole and can be started again.
# Variables before this text: old, new, mode, initdb, folder, psql, stanza, config, check, backup.
set -eu
cd /
umask 077

say() { echo "groundcrew: $*"; }
as_postgres() { runuser --user postgres -- "$@"; }
old_data=/var/lib/postgresql/$old/main
new_data=/var/lib/postgresql/$new/main
old_unit=postgresql@$old-main.service
new_unit=postgresql@$new-main.service
programs=/usr/lib/postgresql/$new/bin
work=/var/lib/postgresql/$new/groundcrew-upgrade

upgrade() {
  own='-c archive_mode=off -c config_file=/etc/postgresql'
  as_postgres mkdir -p "$work"
  as_postgres sh -c 'cd "$0" && exec "$@"' "$work" "$programs/pg_upgrade" --username=postgres \
    --old-bindir="/usr/lib/postgresql/$old/bin" --new-bindir="$programs" \
    --old-datadir="$old_data" --new-datadir="$new_data" \
    --old-options="$own/$old/main/postgresql.conf" --new-options="$own/$new/main/postgresql.conf" "$@"
}

explain() {
  find "$new_data/pg_upgrade_output.d" "$work" -name '*.txt' 2>/dev/null | while read -r file; do
    say "$(basename "$file"):"
    head -n 10 "$file"
  done
}

# pg_upgrade accepts only a cluster in which nothing was done. Its configuration is in /etc.
empty_new_cluster() {
  systemctl stop "$new_unit" 2>/dev/null || true
  rm -rf "$new_data" "$work"
  # shellcheck disable=SC2086
  as_postgres "$programs/initdb" --pgdata="$new_data" $initdb > /dev/null
  rm -f "$new_data"/*.conf
}

set_archive() { [ -z "$stanza" ] || sed -i "s|^pg1-path=.*|pg1-path=$1|" "$config"; }

# With --link, pg_upgrade renames this file as soon as files are shared. Nothing has written to them yet.
start_old_cluster() {
  set_archive "$old_data"
  if [ -e "$old_data/global/pg_control.old" ]; then
    mv "$old_data/global/pg_control.old" "$old_data/global/pg_control"
  fi
  systemctl start "$old_unit"
}

remove_new_cluster() {
  systemctl stop "$new_unit" 2>/dev/null || true
  rm -rf "$work" "$new_data" "/etc/postgresql/$new/main"
  rm -f "$folder/backed-up" "$folder/unfinished"
}

go_back() {
  start_old_cluster
  if [ -n "$stanza" ]; then
    as_postgres pgbackrest --stanza="$stanza" --io-timeout=10 stanza-upgrade ||
      say "WAL does not reach the repositories; repair the archive with deploys/postgres.py."
    for timer in /etc/systemd/system/groundcrew-pitr-*.timer; do systemctl start "$(basename "$timer")"; done
  fi
  remove_new_cluster
}

if [ -e "$folder/opened" ]; then
  case $mode in
    check) say "The upgrade is not finished. Run it again with --data mode=copy or mode=link."; exit 1 ;;
    back) say "The server of PostgreSQL $new was opened, and may have new data. To return, restore a backup."; exit 1 ;;
  esac
else
  if [ "$mode" = back ]; then
    go_back
    printf 'PostgreSQL %s runs as before\n' "$old" > "$folder/result"
    exit 0
  fi
  start_old_cluster
  if [ -n "$(ls "$old_data/pg_tblspc")" ]; then
    remove_new_cluster
    say "The cluster has tablespaces, in which a killed upgrade would leave directories:"
    find "$old_data/pg_tblspc" -type l -exec readlink {} +
    say "PostgreSQL $old runs as before; nothing was changed. Move what they hold (ALTER TABLE … SET TABLESPACE \
pg_default) and drop them, or run pg_upgrade by hand."
    exit 1
  fi
  empty_new_cluster
  if ! upgrade --check; then
    explain
    remove_new_cluster
    say "PostgreSQL $old runs as before; nothing was changed."
    exit 1
  fi
  if [ "$mode" = check ]; then
    remove_new_cluster
    printf 'pg_upgrade --check found no problem\n' > "$folder/result"
    exit 0
  fi
  needed=$(du -sm "$old_data" | cut -f 1)
  free=$(df --output=avail -B1M /var/lib/postgresql | tail -n 1 | tr -d ' ')
  if [ "$mode" = copy ] && [ "$needed" -gt "$free" ]; then
    remove_new_cluster
    say "A copy needs $needed MiB, and the disk has $free MiB free. Free some space, or use --data mode=link."
    exit 1
  fi
  if [ -n "$backup" ] && [ ! -e "$folder/backed-up" ]; then
    as_postgres "$backup" incr || { remove_new_cluster; say "A backup failed; nothing was changed."; exit 1; }
    touch "$folder/backed-up"
  fi

  [ -z "$stanza" ] || systemctl stop 'groundcrew-pitr-*.timer' 'groundcrew-pitr-backup@*.service'
  systemctl stop "$old_unit"
  link=
  [ "$mode" = copy ] || link=--link
  if ! upgrade --jobs="$(nproc)" $link; then
    explain
    go_back
    say "The upgrade failed, and PostgreSQL $old runs again."
    exit 1
  fi
  set_archive "$new_data"
  if [ -n "$stanza" ] && ! as_postgres pgbackrest --stanza="$stanza" --no-online --io-timeout=10 stanza-upgrade; then
    go_back
    say "The repositories did not accept the new version, and PostgreSQL $old runs again."
    exit 1
  fi
  pg_conftool "$new" main set port "$(pg_conftool --short "$old" main show port)"
  echo manual > "/etc/postgresql/$old/main/start.conf"
  systemctl disable --quiet "$old_unit"
  touch "$folder/opened"
  sync
fi

systemctl enable --quiet "$new_unit"
systemctl start "$new_unit"
# Queries are slow until PostgreSQL knows its tables again. The first stage takes seconds.
as_postgres "$programs/vacuumdb" --all --analyze-in-stages || say "ANALYZE failed for some tables; see above."
if [ -e "$work/update_extensions.sql" ]; then
  sh -c "$psql --file=$work/update_extensions.sql" ||
    say "Some extensions were not updated; run $work/update_extensions.sql."
fi
if [ -n "$stanza" ]; then
  sh -c "$check" || { say "The server is upgraded and open, but its WAL does not reach the repositories."; exit 1; }
  as_postgres "$backup" full || { say "The server is upgraded and open, but a new backup failed."; exit 1; }
fi

{
  echo "upgraded from PostgreSQL $old to $new"
  if [ "$mode" = link ]; then
    echo "the old cluster shares its files with the new one and can't be used; remove it: pg_dropcluster $old main"
  else
    echo "the old cluster is as it was before; remove it when you no longer need it: pg_dropcluster $old main"
  fi
  [ -z "$stanza" ] || echo "a new full backup is in each repository"
} > "$folder/new"
mv "$folder/new" "$folder/result"
rm -f "$folder/opened" "$folder/backed-up" "$folder/unfinished"
