# A second bucket in another region, with roles of its own. The job `copy` writes it: see [copies] in the environment file.

provider "aws" {
  alias               = "replica"
  region              = var.replica_region == "" ? var.region : var.replica_region
  allowed_account_ids = var.account_id == "" ? null : [var.account_id]

  default_tags {
    tags = local.tags
  }
}

module "replica" {
  source = "../../modules/backups"
  count  = var.replica_bucket == "" ? 0 : 1

  providers = {
    aws = aws.replica
  }

  name          = "${local.name}-replica"
  bucket        = var.replica_bucket
  trusted       = var.trusted
  undelete_days = var.undelete_days
  object_lock   = var.object_lock
}
