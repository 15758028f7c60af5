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

  # One server has one address, so a load balancer adds little. With more, it finds those that answer.
  balanced = coalesce(var.load_balancer, var.servers > 1)
  endpoint = local.balanced ? aws_lb.api[0].dns_name : aws_instance.this["server-1"].public_ip

  api_name = trim(substr("${var.name}-api", 0, 32), "-") # AWS allows 32 characters

  # The security group admits nodes by their private addresses, and people by the public ones.
  hosts = { for name, host in aws_instance.this : name => { name = "${var.name}-${name}", ssh_hostname = host.public_ip, ssh_user = var.user, k3s_address = host.private_ip } }

  profile = one(aws_iam_instance_profile.servers[*].name)
  servers = { for at in range(var.servers) : "server-${at + 1}" => merge(var.server, { subnet = var.subnets[at % length(var.subnets)], profile = local.profile }) }
  agents  = { for at in range(var.agents) : "agent-${at + 1}" => merge(var.agent, { subnet = var.subnets[at % length(var.subnets)], profile = null }) }
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
    for_each = aws_security_group.api[*].id

    content {
      description     = "Kubernetes API, from the load balancer and its health checks"
      from_port       = 6443
      to_port         = 6443
      protocol        = "tcp"
      security_groups = [ingress.value]
    }
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
    description = "Anywhere"
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
  iam_instance_profile   = each.value.profile
  user_data              = local.cloud_init

  root_block_device {
    volume_size = each.value.disk
    encrypted   = true
    tags        = var.tags # the provider's default tags do not reach disks
  }

  associate_public_ip_address = true
  ebs_optimized               = true

  # One hop: a pod cannot reach the host's credentials.
  metadata_options {
    http_tokens                 = "required"
    http_endpoint               = "enabled"
    http_put_response_hop_limit = 1
  }

  # A new image or key applies to new hosts only. It must never replace the hosts of the cluster.
  lifecycle {
    ignore_changes = [ami, user_data]
  }

  tags = { Name = "${var.name}-${each.key}" }
}

# The entrance for people. Nodes talk to each other by their private addresses.
resource "aws_lb" "api" {
  count = local.balanced ? 1 : 0

  name                             = local.api_name
  load_balancer_type               = "network"
  subnets                          = var.subnets
  security_groups                  = aws_security_group.api[*].id
  enable_cross_zone_load_balancing = true
}

resource "aws_security_group" "api" {
  count = local.balanced ? 1 : 0

  name        = "${var.name}-api"
  description = "Load balancer of the Kubernetes API of ${var.name}"
  vpc_id      = var.vpc_id

  ingress {
    description = "Kubernetes API"
    from_port   = 6443
    to_port     = 6443
    protocol    = "tcp"
    cidr_blocks = var.admins
  }

  egress {
    description = "Servers"
    from_port   = 6443
    to_port     = 6443
    protocol    = "tcp"
    cidr_blocks = ["0.0.0.0/0"]
  }

  tags = { Name = "${var.name}-api" }
}

resource "aws_lb_target_group" "api" {
  count = local.balanced ? 1 : 0

  name     = local.api_name
  port     = 6443
  protocol = "TCP"
  vpc_id   = var.vpc_id

  health_check {
    protocol = "TCP"
    interval = 10
  }
}

resource "aws_lb_listener" "api" {
  count = local.balanced ? 1 : 0

  load_balancer_arn = aws_lb.api[0].arn
  port              = 6443
  protocol          = "TCP"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.api[0].arn
  }
}

resource "aws_lb_target_group_attachment" "api" {
  for_each = local.balanced ? local.servers : {}

  target_group_arn = aws_lb_target_group.api[0].arn
  target_id        = aws_instance.this[each.key].id
}

# The servers write etcd snapshots to S3 with the credentials of their instance, so no key lies on them.
resource "aws_iam_instance_profile" "servers" {
  count = var.snapshots_bucket == "" ? 0 : 1

  name = "${var.name}-k3s-servers"
  role = aws_iam_role.servers[0].name
}

resource "aws_iam_role" "servers" {
  count = var.snapshots_bucket == "" ? 0 : 1

  name               = "${var.name}-k3s-servers"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "snapshots" {
  count = var.snapshots_bucket == "" ? 0 : 1

  name   = "snapshots"
  role   = aws_iam_role.servers[0].id
  policy = data.aws_iam_policy_document.snapshots.json
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

# K3s deletes the snapshots that its own retention no longer keeps.
data "aws_iam_policy_document" "snapshots" {
  statement {
    actions   = ["s3:ListBucket", "s3:GetBucketLocation"]
    resources = ["arn:aws:s3:::${var.snapshots_bucket}"]
  }

  statement {
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
    resources = ["arn:aws:s3:::${var.snapshots_bucket}/${var.snapshots_folder}/*"]
  }
}
