# The automated backups of an RDS instance, copied to the region of this module's provider.

# The copies have a key of their own: a region has no access to the keys of another one.
resource "aws_kms_key" "this" {
  description             = "Copied backups of ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
}

resource "aws_db_instance_automated_backups_replication" "this" {
  source_db_instance_arn = var.instance
  kms_key_id             = aws_kms_key.this.arn
  retention_period       = var.days
}
