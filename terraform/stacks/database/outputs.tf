output "address" {
  value = module.database.address
}

output "replicas" {
  value = module.database.replicas
}

output "password_secret" {
  value = module.database.password_secret
}

# To restore in the second region:
# aws rds restore-db-instance-to-point-in-time --region REGION --source-db-instance-automated-backups-arn ARN
#   --target-db-instance-identifier NAME --db-subnet-group-name GROUP --use-latest-restorable-time
output "copied_backups" {
  value = one(module.database_backups[*].backups)
}
