output "bucket" {
  value = module.backups.bucket
}

output "roles" {
  value = module.backups.roles
}

# Add this to ~/.aws/config of the user who runs the jobs. Then set in the environment file:
# [store] profiles = { backup = "acme-staging-writer", retention = "acme-staging-pruner", verify = "acme-staging-restorer" }
output "aws_config" {
  value = join("\n", [for name, arn in module.backups.roles : "[profile ${local.name}-${name}]\nrole_arn = ${arn}\nsource_profile = default\n"])
}
