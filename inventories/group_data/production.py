"""Group data of production's hosts. It wins over that of their groups."""

k3s_hardened = True  # docs/k3s-hardening.md
