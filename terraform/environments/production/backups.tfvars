bucket        = "acme-backups"
undelete_days = 30
