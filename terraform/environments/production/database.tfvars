# A primary with a standby, and two replicas, with 8 GB of memory each. RDS copies its backups to a second region.
database_zones     = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
instance_class     = "db.m5.large"
disk               = 200
replicas           = 2
multi_az           = true
protected          = true
backup_region      = "eu-west-1"
backup_region_days = 14
