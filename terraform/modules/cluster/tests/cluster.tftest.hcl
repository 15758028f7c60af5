# Run by `make test-stacks`. No cloud is asked: the provider is a mock.

mock_provider "aws" {
  override_data {
    target = data.aws_iam_policy_document.trust
    values = { json = "{}" }
  }
  mock_resource "aws_lb" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/net/acme-test-api/1" }
  }
  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/acme-test-api/1" }
  }
  override_data {
    target = data.aws_iam_policy_document.snapshots
    values = { json = "{}" }
  }
}

variables {
  name     = "acme-test"
  vpc_id   = "vpc-1"
  subnets  = ["subnet-1", "subnet-2"]
  image    = "ami-1"
  servers  = 3
  agents   = 1
  server   = { type = "t3.large", disk = 60 }
  agent    = { type = "m5.2xlarge", disk = 200 }
  admins   = ["198.51.100.0/24"]
  user     = "admin"
  ssh_keys = ["ssh-ed25519 AAAAexample you@acme.example"]
  tags     = { Owner = "platform" }
}

run "servers_are_spread_over_the_subnets" {
  command = plan

  assert {
    condition     = [for name in ["server-1", "server-2", "server-3", "agent-1"] : aws_instance.this[name].subnet_id] == ["subnet-1", "subnet-2", "subnet-1", "subnet-1"]
    error_message = "The hosts are not spread over the subnets."
  }
}

run "only_admins_reach_ssh_and_the_api" {
  command = plan

  variables {
    load_balancer = false
  }

  assert {
    condition     = alltrue([for rule in aws_security_group.this.ingress : rule.cidr_blocks == tolist(["198.51.100.0/24"]) if contains([22, 6443], rule.from_port)])
    error_message = "SSH or the Kubernetes API is open to others."
  }
}

run "pods_cannot_reach_the_credentials_of_a_host" {
  command = plan

  assert {
    condition     = alltrue([for host in aws_instance.this : host.metadata_options[0].http_tokens == "required" && host.metadata_options[0].http_put_response_hop_limit == 1])
    error_message = "The metadata service answers pods."
  }
}

run "without_a_bucket_no_host_has_a_role" {
  command = plan

  assert {
    condition     = local.profile == null && length(aws_iam_role.servers) == 0
    error_message = "A host has a role that it does not need."
  }
}

run "servers_alone_can_write_snapshots" {
  command = plan

  variables {
    snapshots_bucket = "acme-snapshots"
  }

  assert {
    condition     = aws_instance.this["server-1"].iam_instance_profile == "acme-test-k3s-servers" && local.agents["agent-1"].profile == null
    error_message = "The role for snapshots is not on the servers alone."
  }
}

run "nodes_talk_by_private_addresses_and_people_through_the_load_balancer" {
  assert {
    condition     = alltrue([for host in concat(output.k3s_servers, output.k3s_agents) : host.k3s_address == aws_instance.this[trimprefix(host.name, "acme-test-")].private_ip])
    error_message = "A node has no private address, or not its own."
  }

  assert {
    condition     = alltrue([for host in output.k3s_servers : host.k3s_endpoint == aws_lb.api[0].dns_name]) && output.k3s_endpoint == aws_lb.api[0].dns_name
    error_message = "People do not reach the cluster through its load balancer."
  }

  assert {
    condition     = length(aws_lb_target_group_attachment.api) == 3 && [for rule in aws_security_group.api[0].ingress : rule.cidr_blocks] == [tolist(["198.51.100.0/24"])]
    error_message = "The load balancer leads to others than the servers, or admits others than admins."
  }
}

run "one_server_needs_no_load_balancer" {
  variables {
    servers = 1
  }

  assert {
    condition     = length(aws_lb.api) == 0 && output.k3s_endpoint == aws_instance.this["server-1"].public_ip
    error_message = "One server has a load balancer, or no endpoint."
  }
}

run "wrong_values_are_refused" {
  command = plan

  variables {
    servers      = 2
    agents       = -1
    server       = { type = "t3.large", disk = 8 }
    agent        = { type = "t3.large", disk = 8 }
    admins       = ["0.0.0.0/0"]
    public_ports = [80, 6443]
    ssh_keys     = []
  }

  expect_failures = [var.servers, var.agents, var.server, var.agent, var.admins, var.public_ports, var.ssh_keys]
}
