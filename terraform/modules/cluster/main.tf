# Hosts for K3s: servers, agents and their firewall rules. deploys/k3s.py installs K3s on them.

locals {
  # The first boot only creates the user for deploys. Deploys do the rest, since you can run them again.
  cloud_init = <<-EOT
    #cloud-config
    users:
      - name: ${var.user}
        sudo: ALL=(ALL) NOPASSWD:ALL
        shell: /bin/bash
        ssh_authorized_keys: ${jsonencode(var.ssh_keys)}
  EOT

  servers = { for at in range(var.servers) : "server-${at + 1}" => merge(var.server, { subnet = var.subnets[at % length(var.subnets)] }) }
  agents  = { for at in range(var.agents) : "agent-${at + 1}" => merge(var.agent, { subnet = var.subnets[at % length(var.subnets)] }) }
}

resource "aws_security_group" "this" {
  name        = "${var.name}-cluster"
  description = "Hosts of the K3s cluster ${var.name}"
  vpc_id      = var.vpc_id

  ingress {
    description = "Each other"
    from_port   = 0
    to_port     = 0
    protocol    = "-1"
    self        = true
  }

  ingress {
    description = "SSH"
    from_port   = 22
    to_port     = 22
    protocol    = "tcp"
    cidr_blocks = var.admins
  }

  ingress {
    description = "Kubernetes API"
    from_port   = 6443
    to_port     = 6443
    protocol    = "tcp"
    cidr_blocks = var.admins
  }

  dynamic "ingress" {
    for_each = var.public_ports

    content {
      description = "Users"
      from_port   = ingress.value
      to_port     = ingress.value
      protocol    = "tcp"
      cidr_blocks = ["0.0.0.0/0"]
    }
  }

  egress {
    from_port   = 0
    to_port     = 0
    protocol    = "-1"
    cidr_blocks = ["0.0.0.0/0"]
  }

  tags = { Name = "${var.name}-cluster" }
}

resource "aws_instance" "this" {
  for_each = merge(local.servers, local.agents)

  ami                    = var.image
  instance_type          = each.value.type
  subnet_id              = each.value.subnet
  vpc_security_group_ids = [aws_security_group.this.id]
  user_data              = local.cloud_init

  root_block_device {
    volume_size = each.value.disk
    encrypted   = true
    tags        = var.tags # the provider's default tags do not reach disks
  }

  associate_public_ip_address = true

  metadata_options {
    http_tokens   = "required"
    http_endpoint = "enabled"
  }

  # A new image or key applies to new hosts only. It must never replace the hosts of the cluster.
  lifecycle {
    ignore_changes = [ami, user_data, volume_tags] # volume_tags: AWS provider 3 empties it in every plan
  }

  tags = { Name = "${var.name}-${each.key}" }
}
