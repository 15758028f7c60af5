# One server that developers share: 8 vCPU, 32 GB of memory, 200 GB of disk.
zones      = ["eu-central-1a"]
dev_server = true
admins     = ["198.51.100.0/24"]
ssh_keys   = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampleEx you@acme.example"]
