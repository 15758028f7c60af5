# Hosts for K3s, or one host that developers share. The VPC and subnets come from the network stack, found by name.

data "aws_vpc" "this" {
  tags = { Name = local.name }
}

data "aws_subnet" "public" {
  for_each = toset(var.zones)

  vpc_id = data.aws_vpc.this.id
  tags   = { Name = "${local.name}-public-${each.key}" }
}

data "aws_ami" "debian" {
  owners      = [var.image_owner]
  name_regex  = var.image_name
  most_recent = true
}

locals {
  subnets = [for zone in var.zones : data.aws_subnet.public[zone].id]
}

module "cluster" {
  source = "../../modules/cluster"
  count  = var.servers > 0 ? 1 : 0

  snapshots_bucket = var.snapshots_bucket

  name    = local.name
  vpc_id  = data.aws_vpc.this.id
  subnets = local.subnets
  image   = data.aws_ami.debian.id
  servers = var.servers
  agents  = var.agents

  load_balancer = var.load_balancer

  server   = var.server
  agent    = var.agent
  admins   = var.admins
  user     = var.user
  ssh_keys = var.ssh_keys
  tags     = local.tags
}

module "dev_server" {
  source = "../../modules/dev_server"
  count  = var.dev_server ? 1 : 0

  name     = local.name
  vpc_id   = data.aws_vpc.this.id
  subnet   = local.subnets[0]
  image    = data.aws_ami.debian.id
  admins   = var.admins
  user     = var.user
  ssh_keys = var.ssh_keys
  tags     = local.tags
}
