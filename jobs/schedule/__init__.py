"""When jobs run: what is due, the daemon that starts it, and the same schedule for cron, systemd and Kubernetes."""
