module "backups" {
  source = "../../modules/backups"

  name          = local.name
  bucket        = var.bucket
  trusted       = var.trusted
  undelete_days = var.undelete_days
  object_lock   = var.object_lock
  copies_to     = var.replica_bucket == "" ? [] : [var.replica_bucket]
}
