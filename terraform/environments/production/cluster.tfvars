# K3s with three servers in three zones. The agents have 24 vCPU and 96 GB of memory, and a third less if a zone fails.
zones    = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
servers  = 3
agents   = 3
server   = { type = "t3.large", disk = 60 }
agent    = { type = "m5.2xlarge", disk = 200 }
admins   = ["198.51.100.0/24"]
ssh_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampleEx you@acme.example"]
