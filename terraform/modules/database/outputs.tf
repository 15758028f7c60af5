output "address" {
  description = "Host name of the primary."
  value       = aws_db_instance.primary.address
}

output "replicas" {
  description = "Host names of the replicas."
  value       = aws_db_instance.replica[*].address
}
