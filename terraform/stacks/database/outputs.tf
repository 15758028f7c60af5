output "address" {
  value = module.database.address
}

output "replicas" {
  value = module.database.replicas
}
