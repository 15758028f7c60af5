module "backups" {
  source = "../../modules/backups"

  name          = local.name
  bucket        = var.bucket
  trusted       = var.trusted
  undelete_days = var.undelete_days
  lock_days     = var.lock_days
}
