"""Group data of production's hosts. It wins over that of their groups."""

apps_proven_in = "staging"  # needs apps_record = True there
k3s_hardened = True  # docs/k3s-hardening.md
