# PostgreSQL in the VPC of the network stack, found by name.

data "aws_vpc" "this" {
  tags = { Name = local.name }
}

data "aws_subnet" "private" {
  for_each = toset(var.database_zones)

  vpc_id = data.aws_vpc.this.id
  tags   = { Name = "${local.name}-private-${each.key}" }
}

module "database" {
  source = "../../modules/database"

  name           = local.name
  vpc_id         = data.aws_vpc.this.id
  subnets        = [for zone in var.database_zones : data.aws_subnet.private[zone].id]
  clients        = [data.aws_vpc.this.cidr_block]
  instance_class = var.instance_class
  disk           = var.disk
  max_disk       = var.max_disk
  username       = "owner"
  password       = var.database_password == "" ? null : var.database_password
  replicas       = var.replicas
  multi_az       = var.multi_az
  protected      = var.protected
}
