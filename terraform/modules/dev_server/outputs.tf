output "dev_servers" {
  description = "Hosts in pyinfra's format."
  value       = [{ name = "${var.name}-dev-server", ssh_hostname = aws_instance.this.public_ip, ssh_user = var.user }]
}
