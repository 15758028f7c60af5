"""Job runners: groundcrew's release, configuration files and timers on a host."""
