"""groundcrew itself on a host: release, files, timers."""
