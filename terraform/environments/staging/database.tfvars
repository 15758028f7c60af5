# One instance with 4 GB of memory.
database_zones = ["eu-central-1a", "eu-central-1b"]
instance_class = "db.t3.medium"
disk           = 50
