"""What the hosts run that keep an environment's jobs going: read by deploys/job_runner.py."""

# Whose timers they have; empty: those of the inventory, as production for inventories/production.
job_runner_environments: list[str] = []

# Where this machine finds the secrets: {"MAIN_DB_PASSWORD": {"command": ["pass", "show", "main"]}}. One that is not
# named here is a variable, or a file in $CREDENTIALS_DIRECTORY, as the environment file says. A path is a file that the
# host gets, for { file = ... }, keys of tunnels, AWS: {"/etc/groundcrew/age.key": {"file": "~/keys/production.key"}}
job_runner_secrets: dict[str, dict[str, object]] = {}

# In addition to the distribution's PostgreSQL clients, e.g. "postgresql" to verify backups here, or "kubectl".
job_runner_packages: list[str] = []

job_runner_wait = 900  # seconds that an upgrade waits for a run to end
job_runner_journal = "1G"  # what the host's logs may take
