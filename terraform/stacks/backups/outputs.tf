output "bucket" {
  value = module.backups.bucket
}

locals {
  replica_roles = [for replica in module.replica : { for name, arn in replica.roles : "replica-${name}" => arn }]
  roles         = merge(module.backups.roles, local.replica_roles...)
}

output "roles" {
  value = local.roles
}

# Add this to ~/.aws/config of the user who runs the jobs. Then set in the environment file:
# [store] profiles = { backup = "acme-staging-writer", retention = "acme-staging-pruner", verify = "acme-staging-restorer" }
# With a replica, also copy = "acme-staging-copier", and in [copies.replica]
# profiles = { copy = "acme-staging-copier", retention = "acme-staging-replica-pruner", verify = "acme-staging-replica-restorer" }
output "aws_config" {
  value = join("\n", [for name, arn in local.roles : "[profile ${local.name}-${name}]\nrole_arn = ${arn}\nsource_profile = default\n"])
}
