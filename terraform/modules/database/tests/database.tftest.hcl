# Run by `make test-stacks`. No cloud is asked: the provider is a mock.

mock_provider "aws" {}

variables {
  name           = "acme-test"
  vpc_id         = "vpc-1"
  subnets        = ["subnet-1", "subnet-2"]
  clients        = ["10.20.0.0/16"]
  instance_class = "db.t3.medium"
  disk           = 50
  username       = "owner"
  password       = "never-stored"
  protected      = true
}

run "a_protected_database_leaves_a_snapshot" {
  command = plan

  assert {
    condition     = aws_db_instance.primary.deletion_protection && !aws_db_instance.primary.skip_final_snapshot
    error_message = "A protected database can be destroyed without a snapshot."
  }
}

run "a_protected_database_changes_in_its_window" {
  command = plan

  assert {
    condition     = !aws_db_instance.primary.apply_immediately && aws_db_instance.primary.manage_master_user_password == null
    error_message = "A change can restart a protected database at once, or RDS replaces a given password."
  }
}

run "rds_makes_a_password_if_none_is_given" {
  command = plan

  variables {
    password  = null
    protected = false
    max_disk  = 200
    insights  = true
  }

  assert {
    condition     = aws_db_instance.primary.manage_master_user_password && aws_db_instance.primary.password == null
    error_message = "A password is in the state."
  }

  assert {
    condition     = aws_db_instance.primary.max_allocated_storage == 200 && aws_db_instance.primary.apply_immediately
    error_message = "The disk does not grow, or a change waits for no reason."
  }
}

run "replicas_need_a_password" {
  command = plan

  variables {
    password = null
    replicas = 1
  }

  expect_failures = [aws_db_instance.primary]
}

run "final_snapshots_have_their_own_names" {
  command = plan

  assert {
    condition     = can(regex("^acme-test-final-[0-9]{14}$", aws_db_instance.primary.final_snapshot_identifier))
    error_message = "The second final snapshot would have the name of the first."
  }
}

run "disks_are_encrypted" {
  command = plan

  variables {
    replicas = 2
  }

  assert {
    condition     = alltrue([for instance in concat([aws_db_instance.primary], aws_db_instance.replica) : instance.storage_encrypted])
    error_message = "A disk is not encrypted."
  }
}

run "only_clients_reach_postgresql" {
  command = plan

  assert {
    condition     = [for rule in aws_security_group.this.ingress : "${rule.from_port} ${join(" ", rule.cidr_blocks)}"] == ["5432 10.20.0.0/16"]
    error_message = "Something else than PostgreSQL for clients is open."
  }
}

run "wrong_values_are_refused" {
  command = plan

  variables {
    subnets     = ["subnet-1"]
    clients     = ["0.0.0.0/0"]
    disk        = 5
    backup_days = 0
  }

  expect_failures = [var.subnets, var.clients, var.disk, var.backup_days]
}

run "a_disk_grows_beyond_its_size_only" {
  command = plan

  variables {
    max_disk = 40
  }

  expect_failures = [var.max_disk]
}
