"""What reads the metrics: Prometheus rules and a Grafana dashboard, made of the names that are written.

`make monitoring` writes rules.yml and dashboard.json beside this file anew.
"""
