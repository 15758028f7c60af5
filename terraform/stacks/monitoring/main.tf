module "monitoring" {
  source = "../../modules/monitoring"

  name       = local.name
  budget     = var.budget
  thresholds = var.thresholds
  mail       = var.mail
}
