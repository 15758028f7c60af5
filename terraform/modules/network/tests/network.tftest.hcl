# Run by `make test-stacks`. No cloud is asked: the provider is a mock.

mock_provider "aws" {
  override_data {
    target = data.aws_iam_policy_document.flow_logs_trust
    values = { json = "{}" }
  }
  override_data {
    target = data.aws_iam_policy_document.flow_logs
    values = { json = "{}" }
  }
  override_data {
    target = data.aws_region.current
    values = { id = "eu-central-1" }
  }
}

variables {
  name           = "acme-test"
  cidr           = "10.20.0.0/16"
  zones          = ["eu-central-1a", "eu-central-1c"]
  database_zones = ["eu-central-1b", "eu-central-1c"]
}

run "the_letter_of_a_zone_numbers_its_subnets" {
  command = plan

  assert {
    condition     = { for zone, subnet in aws_subnet.public : zone => subnet.cidr_block } == { eu-central-1a = "10.20.0.0/24", eu-central-1c = "10.20.2.0/24" }
    error_message = "The addresses of public subnets depend on other zones."
  }

  assert {
    condition     = { for zone, subnet in aws_subnet.private : zone => subnet.cidr_block } == { eu-central-1b = "10.20.101.0/24", eu-central-1c = "10.20.102.0/24" }
    error_message = "The addresses of private subnets depend on other zones."
  }
}

run "a_zone_that_goes_moves_no_other" {
  command = plan

  variables {
    zones = ["eu-central-1c"]
  }

  assert {
    condition     = aws_subnet.public["eu-central-1c"].cidr_block == "10.20.2.0/24"
    error_message = "The subnet of the zone that stays has new addresses."
  }
}

run "the_default_security_group_is_closed" {
  command = plan

  assert {
    condition     = length(aws_default_security_group.closed.ingress) + length(aws_default_security_group.closed.egress) == 0
    error_message = "The default security group has a rule."
  }
}

run "private_subnets_have_no_way_out" {
  command = plan

  assert {
    condition     = length(aws_route.nat) == 0
    error_message = "The private subnets have a route to the internet."
  }
}

run "nat_gives_them_one" {
  command = plan

  variables {
    nat = true
  }

  assert {
    condition     = aws_route.nat[0].destination_cidr_block == "0.0.0.0/0"
    error_message = "The private subnets have no route to the NAT gateway."
  }
}

run "flow_logs_can_be_off" {
  command = plan

  variables {
    flow_log_days = 0
  }

  assert {
    condition     = length(aws_flow_log.this) + length(aws_iam_role.flow_logs) == 0
    error_message = "Flow logs are made although they are off."
  }
}

run "wrong_values_are_refused" {
  command = plan

  variables {
    cidr           = "10.20.0.0/20"
    zones          = ["frankfurt"]
    database_zones = ["eu-central-1a"]
    flow_log_days  = 2
  }

  expect_failures = [var.cidr, var.zones, var.database_zones, var.flow_log_days]
}
