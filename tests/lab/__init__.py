"""The lab: real Debian hosts with systemd, sshd, an address of their own and apt, booted in systemd-nspawn."""
