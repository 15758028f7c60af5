output "address" {
  value = module.database.address
}

output "replicas" {
  value = module.database.replicas
}

output "password_secret" {
  value = module.database.password_secret
}
