"""Deploy the apps of a K3s cluster, test them, and go back to the last version of an app that fails.

    pyinfra inventories/staging deploys/k3s_apps.py

Charts become HelmChart objects of K3s; manifests are applied to the server. To remove an app, remove it from `apps`
and name it with --data remove=NAME.

Group data: apps in inventories/group_data/k3s_servers.py.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from pyinfra import host

from deploys.lib import preflight
from deploys.lib.k3s import app_promotion, app_steps, apps
from deploys.lib.k3s import cluster as k3s_cluster

ROOT = Path(__file__).resolve().parents[1]

cluster = k3s_cluster.cluster_hosts()
preflight.require_in_limit([cluster.first], "kubectl runs on the first server")
given = cluster.settings.get("apps") or []
preflight.stop_on_faults(apps.example_faults_of(given))
listed = apps.expanded(given)
preflight.stop_on_faults(apps.app_faults(listed, ROOT))

if host.name == cluster.first:
    wanted = [apps.app_of(each, ROOT) for each in listed]
    preflight.stop_on_faults(fault for app in wanted for fault in apps.size_faults(app))
    server = k3s_cluster.responsive_server(*cluster.servers)
    if server is None:
        raise preflight.DeployError(f"none of {', '.join(cluster.servers)} answers; run deploys/k3s.py first")
    try:
        found = app_steps.read_apps(server)
    except k3s_cluster.StepFailed as failure:
        raise preflight.DeployError(str(failure)) from None
    removed, unproven = (str(host.data.get(key) or "").split(",") for key in ("remove", "unproven"))
    removed = [name for name in removed if name]
    names = [app.name for app in wanted]
    preflight.stop_on_faults(apps.removal_faults(removed, names, sorted(found.records)))
    records = {name: found.records.get(name, apps.AppRecord()) for name in names}
    preflight.stop_on_faults(fault for app in wanted for fault in apps.move_faults(app, records[app.name]))
    preflight.stop_on_faults(
        fault for app in wanted for fault in apps.foreign_faults(app, records[app.name], found.policies)
    )

    changes = {}
    for app in wanted:
        is_applied = partial(app_steps.is_applied, server, app, found.policies.get(app.name) or apps.ABORT)
        try:
            changes[app.name] = apps.differences(records[app.name], app.spec, is_applied)
        except k3s_cluster.StepFailed as failure:
            raise preflight.DeployError(str(failure)) from None
    changed = [app for app in wanted if changes[app.name]]
    proven_in = str(cluster.settings.get("apps_proven_in") or "")
    if proven_in and changed:
        proven = app_promotion.read_recorded(proven_in)
        preflight.stop_on_faults(app_promotion.unproven_faults(changed, proven, proven_in, unproven))

    for app in host.loop(changed):
        app_steps.say_changes(app, changes[app.name])
        app_steps.deploy_app(name=f"App {app.name}: {changes[app.name][0]}", app=app, servers=cluster.servers)
    for name in host.loop(removed):
        record = found.records[name]
        note = app_steps.removal_note(record)
        app_steps.remove_app(name=f"Remove app {name}: {note}", app=name, record=record, servers=cluster.servers)
    if cluster.settings.get("apps_record"):
        recorded = app_promotion.read_recorded(cluster.environment)
        due = [app for app in wanted if app in changed or not app_promotion.is_recorded(app, recorded)]
        forgotten = [name for name in removed if name in recorded]
        if due or forgotten:
            app_promotion.record_passed(
                name=f"Record {', '.join([*(app.name for app in due), *forgotten])}",
                apps=due,
                removed=forgotten,
                environment=cluster.environment,
                unproven=unproven,
                servers=cluster.servers,
            )
    app_steps.say_unlisted(sorted(found.records.keys() - set(names) - set(removed)))
