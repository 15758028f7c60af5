# Run by `make test-stacks`. No cloud is asked: the provider is a mock.

mock_provider "aws" {}

variables {
  name     = "acme-test"
  vpc_id   = "vpc-1"
  subnet   = "subnet-1"
  image    = "ami-1"
  admins   = ["198.51.100.0/24"]
  user     = "admin"
  ssh_keys = ["ssh-ed25519 AAAAexample you@acme.example"]
  tags     = { Owner = "platform" }
}

run "ssh_alone_is_open_and_to_admins_alone" {
  command = plan

  assert {
    condition     = [for rule in aws_security_group.this.ingress : "${rule.from_port} ${join(" ", rule.cidr_blocks)}"] == ["22 198.51.100.0/24"]
    error_message = "Something else than SSH for admins is open."
  }
}

run "the_disk_is_encrypted" {
  command = plan

  assert {
    condition     = aws_instance.this.root_block_device[0].encrypted
    error_message = "The disk with the home directories is not encrypted."
  }
}

run "wrong_values_are_refused" {
  command = plan

  variables {
    admins   = ["0.0.0.0/0"]
    ssh_keys = []
  }

  expect_failures = [var.admins, var.ssh_keys]
}
