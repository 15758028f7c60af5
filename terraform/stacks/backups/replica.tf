# A second bucket in another region, with roles of its own. The job `copy` writes it: see [copies] in the environment file.
# Terraform starts this provider for each plan, also without a replica: a provider has no count. Version 6 of the provider
# could do without, because its resources have a region of their own, but the stack also allows version 5.

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
