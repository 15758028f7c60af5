output "backups" {
  description = "ARN of the copied backups, to restore from them."
  value       = aws_db_instance_automated_backups_replication.this.id
}
