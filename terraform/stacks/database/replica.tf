# Copies of the automated backups in another region. Terraform starts this provider for each plan, also without copies:
# see the stack backups.

provider "aws" {
  alias               = "replica"
  region              = var.backup_region == "" ? var.region : var.backup_region
  allowed_account_ids = var.account_id == "" ? null : [var.account_id]

  default_tags {
    tags = local.tags
  }
}

module "database_backups" {
  source = "../../modules/database_backups"
  count  = var.backup_region == "" ? 0 : 1

  providers = {
    aws = aws.replica
  }

  name     = local.name
  instance = module.database.arn
  days     = var.backup_region_days
}
