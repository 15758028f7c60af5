# A managed PostgreSQL database: one primary in private subnets, and read replicas.

resource "aws_db_subnet_group" "this" {
  name       = var.name
  subnet_ids = var.subnets
}

resource "aws_security_group" "this" {
  name        = "${var.name}-database"
  description = "PostgreSQL of ${var.name}"
  vpc_id      = var.vpc_id

  ingress {
    description = "PostgreSQL"
    from_port   = 5432
    to_port     = 5432
    protocol    = "tcp"
    cidr_blocks = var.clients
  }

  tags = { Name = "${var.name}-database" }
}

resource "aws_db_instance" "primary" {
  identifier              = var.name
  engine                  = "postgres"
  engine_version          = var.engine_version
  instance_class          = var.instance_class
  allocated_storage       = var.disk
  max_allocated_storage   = var.max_disk
  storage_type            = "gp3"
  storage_encrypted       = true
  multi_az                = var.multi_az
  username                = var.username
  password                = var.password
  db_subnet_group_name    = aws_db_subnet_group.this.name
  vpc_security_group_ids  = [aws_security_group.this.id]
  backup_retention_period = var.backup_days
  copy_tags_to_snapshot   = true

  # Without a password of yours, RDS makes one and keeps it in Secrets Manager, so none is in the state.
  manage_master_user_password = nonsensitive(var.password == null) ? true : null

  auto_minor_version_upgrade      = true
  enabled_cloudwatch_logs_exports = ["postgresql", "upgrade"]
  performance_insights_enabled    = var.insights

  # The name has the time at which the instance was made: a second instance of this name leaves a snapshot of its own.
  deletion_protection       = var.protected
  skip_final_snapshot       = !var.protected
  final_snapshot_identifier = "${var.name}-final-${formatdate("YYYYMMDDhhmmss", plantimestamp())}"
  apply_immediately         = !var.protected

  lifecycle {
    ignore_changes = [final_snapshot_identifier]

    precondition {
      condition     = var.replicas == 0 || nonsensitive(var.password != null)
      error_message = "RDS makes no replicas of an instance whose password it manages itself; set password."
    }
  }
}

resource "aws_db_instance" "replica" {
  count = var.replicas

  identifier             = "${var.name}-replica-${count.index + 1}"
  replicate_source_db    = aws_db_instance.primary.identifier # not id, which is another name than the identifier
  instance_class         = var.instance_class
  storage_encrypted      = true
  vpc_security_group_ids = [aws_security_group.this.id]
  skip_final_snapshot    = true
  copy_tags_to_snapshot  = true
  apply_immediately      = !var.protected
}
