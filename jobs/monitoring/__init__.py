"""Prometheus alert rules and a Grafana dashboard, generated from the names of the metrics that runs write.

`make monitoring` regenerates rules.yml and dashboard.json in this directory.
"""
