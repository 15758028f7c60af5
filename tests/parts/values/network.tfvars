cidr           = "10.20.0.0/16"
zones          = ["eu-central-1a"]
database_zones = ["eu-central-1a", "eu-central-1b"]
