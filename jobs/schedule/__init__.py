"""The schedule: what is due, the daemon that starts it, and exports for cron, systemd and Kubernetes."""
