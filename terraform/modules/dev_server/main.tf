# One large host that developers share over SSH.

resource "aws_security_group" "this" {
  name        = "${var.name}-dev-server"
  description = "The shared development server of ${var.name}"
  vpc_id      = var.vpc_id

  ingress {
    description = "SSH"
    from_port   = 22
    to_port     = 22
    protocol    = "tcp"
    cidr_blocks = var.admins
  }

  egress {
    description = "Anywhere"
    from_port   = 0
    to_port     = 0
    protocol    = "-1"
    cidr_blocks = ["0.0.0.0/0"]
  }

  tags = { Name = "${var.name}-dev-server" }
}

resource "aws_instance" "this" {
  ami                    = var.image
  instance_type          = var.type
  subnet_id              = var.subnet
  vpc_security_group_ids = [aws_security_group.this.id]

  user_data = <<-EOT
    #cloud-config
    users:
      - name: ${var.user}
        sudo: ALL=(ALL) NOPASSWD:ALL
        shell: /bin/bash
        ssh_authorized_keys: ${jsonencode(var.ssh_keys)}
  EOT

  root_block_device {
    volume_size = var.disk
    encrypted   = true
    tags        = var.tags # the provider's default tags do not reach disks
  }

  associate_public_ip_address = true
  ebs_optimized               = true

  metadata_options {
    http_tokens                 = "required"
    http_endpoint               = "enabled"
    http_put_response_hop_limit = 1
  }

  # The disk holds the home directories of all developers, so the host must never be replaced.
  lifecycle {
    ignore_changes = [ami, user_data]
  }

  tags = { Name = "${var.name}-dev-server" }
}
