output "security_group" {
  description = "ID of the security group of the hosts."
  value       = aws_security_group.this.id
}

output "k3s_endpoint" {
  description = "Address of the Kubernetes API for people: of the load balancer, or of the only server."
  value       = local.endpoint
}

output "k3s_servers" {
  description = "Hosts in pyinfra's format, with their private addresses for other nodes. The first one creates the cluster."
  value       = [for name in keys(local.servers) : merge(local.hosts[name], { k3s_endpoint = local.endpoint })]
}

output "k3s_agents" {
  description = "Hosts in pyinfra's format, with their private addresses for other nodes."
  value       = [for name in keys(local.agents) : local.hosts[name]]
}
