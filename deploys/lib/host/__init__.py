"""What every host gets: firewall, SSH server, upkeep."""
