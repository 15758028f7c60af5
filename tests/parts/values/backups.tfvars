bucket = "acme-backups-staging"
