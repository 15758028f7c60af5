#!/bin/sh
# Written by groundcrew; changes made here are overwritten.
# Prints metrics of replication for node_exporter. Runs as root.
#     postgres-replication-metrics [STANDBY=SLOT…]      the standbys that a primary must have
set -u
cd /
psql() {
  runuser --user postgres -- env 'PGOPTIONS=-c search_path=' \
    psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1
}
gauge() {
  echo "# HELP groundcrew_replication_$1 $2"
  echo "# TYPE groundcrew_replication_$1 gauge"
}

gauge measured_timestamp_seconds 'When these metrics were measured'
echo "groundcrew_replication_measured_timestamp_seconds $(date +%s)"
gauge fenced '1 if another server was promoted in place of this one, and it has not joined again'
echo "groundcrew_replication_fenced $([ -e /var/lib/groundcrew-standby/fenced ] && echo 1 || echo 0)"
in_recovery=$(echo 'SELECT pg_catalog.pg_is_in_recovery()' | psql 2>/dev/null)
if [ "$in_recovery" = t ]; then
  gauge lag_seconds 'How far a standby is behind its primary; since its last transaction, if it does not stream'
  psql <<'SQL'
SELECT 'groundcrew_replication_lag_seconds ' || CASE
  WHEN (SELECT status FROM pg_catalog.pg_stat_wal_receiver) = 'streaming'
    AND pg_catalog.pg_last_wal_receive_lsn() = pg_catalog.pg_last_wal_replay_lsn() THEN 0
  ELSE COALESCE(GREATEST(0, EXTRACT(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp())), 0)
END::int8;
SQL
elif [ "$in_recovery" = f ] && [ $# -gt 0 ]; then
  slots=$(psql <<'SQL'
SELECT s.slot_name, s.active::int, COALESCE((s.wal_status = 'lost')::int, 0),
  COALESCE(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn)::int8, 0)
FROM pg_catalog.pg_replication_slots s WHERE s.slot_type = 'physical';
SQL
) || exit 1
  for metric in \
    'standby_streaming|1 if the standby streams from this primary' \
    'standby_wal_lost|1 if this primary has removed WAL that the standby still needs' \
    'standby_waiting_bytes|WAL that this primary keeps for the standby'; do
    gauge "${metric%%|*}" "${metric#*|}"
    for standby in "$@"; do
      line=$(echo "$slots" | grep "^${standby#*=}|" || echo '|0|0|0')
      case $metric in
        standby_streaming*) value=$(echo "$line" | cut -d '|' -f 2) ;;
        standby_wal_lost*) value=$(echo "$line" | cut -d '|' -f 3) ;;
        *) value=$(echo "$line" | cut -d '|' -f 4) ;;
      esac
      echo "groundcrew_replication_${metric%%|*}{standby=\"${standby%%=*}\"} $value"
    done
  done
fi
