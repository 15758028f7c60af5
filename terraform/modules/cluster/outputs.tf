output "security_group" {
  description = "ID of the security group of the hosts."
  value       = aws_security_group.this.id
}

output "k3s_servers" {
  description = "Hosts in pyinfra's format. The first one creates the cluster."
  value       = [for name in keys(local.servers) : { name = "${var.name}-${name}", ssh_hostname = aws_instance.this[name].public_ip, ssh_user = var.user }]
}

output "k3s_agents" {
  description = "Hosts in pyinfra's format."
  value       = [for name in keys(local.agents) : { name = "${var.name}-${name}", ssh_hostname = aws_instance.this[name].public_ip, ssh_user = var.user }]
}
