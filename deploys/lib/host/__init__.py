"""Settings for any host: firewall, SSH server, upkeep."""
