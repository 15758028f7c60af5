"""Group data of deploys/job_runner.py: environments, secrets and packages of job runners."""

# The environments whose jobs run on the host (default: that of the inventory, such as inventories/production).
job_runner_environments: list[str] = []

# Where your machine finds each secret (default: the environment variable of that name, or a file in
# $CREDENTIALS_DIRECTORY). A path as key is a file to write on the host, for { file = ... }, tunnel keys or AWS.
#   {"MAIN_DB_PASSWORD": {"command": ["pass", "show", "main"]},
#    "/etc/groundcrew/age.key": {"file": "~/keys/production.key"}}
job_runner_secrets: dict[str, dict[str, object]] = {}

# In addition to the system's PostgreSQL clients, such as "postgresql" to verify backups here, or "kubectl".
job_runner_packages: list[str] = []

job_runner_wait = 900  # seconds that an upgrade waits for active runs
