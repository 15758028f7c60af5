module "network" {
  source = "../../modules/network"

  name           = local.name
  cidr           = var.cidr
  zones          = var.zones
  database_zones = var.database_zones
  nat            = var.nat
  flow_log_days  = var.flow_log_days
}
