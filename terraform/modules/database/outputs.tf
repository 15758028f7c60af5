output "address" {
  value = aws_db_instance.primary.address
}

output "replicas" {
  value = aws_db_instance.replica[*].address
}
