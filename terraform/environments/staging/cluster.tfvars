# K3s in one zone: 8 vCPU and 32 GB of memory in total.
zones    = ["eu-central-1a"]
servers  = 1
agents   = 1
server   = { type = "t3.xlarge", disk = 60 }
agent    = { type = "t3.xlarge", disk = 80 }
admins   = ["198.51.100.0/24"]
ssh_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampleEx you@acme.example"]
