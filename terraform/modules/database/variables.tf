variable "name" {
  description = "Name of the resources, and prefix of their names."
  type        = string
}

variable "vpc_id" {
  description = "VPC of the database."
  type        = string
}

variable "subnets" {
  description = "Private subnets in at least two zones."
  type        = list(string)

  validation {
    condition     = length(var.subnets) > 1
    error_message = "RDS requires subnets in at least two zones."
  }
}

variable "clients" {
  description = "Networks that can connect."
  type        = list(string)

  validation {
    condition     = alltrue([for network in var.clients : can(cidrhost(network, 0)) && !endswith(network, "/0")])
    error_message = "Use networks such as 10.20.0.0/16. A network of /0 would open the database to everybody."
  }
}

variable "engine_version" {
  description = "Major version only. RDS upgrades minor versions itself."
  type        = string
  default     = "16"
}

variable "instance_class" {
  description = "Instance class, such as db.m5.large."
  type        = string
}

variable "disk" {
  description = "Disk size in GB."
  type        = number

  validation {
    condition     = var.disk >= 20
    error_message = "RDS requires a gp3 disk of at least 20 GB."
  }
}

variable "max_disk" {
  description = "Size in GB up to which RDS grows the disk when it fills up. 0: it does not grow."
  type        = number
  default     = 0

  validation {
    condition     = var.max_disk == 0 || var.max_disk > var.disk
    error_message = "The disk can only grow beyond its size."
  }
}

variable "username" {
  description = "Name of the owner role."
  type        = string
}

variable "password" {
  description = "Password of the owner role. It is stored in the state. Without one, RDS makes and rotates it in Secrets Manager."
  type        = string
  default     = null
  sensitive   = true
}

variable "replicas" {
  description = "Number of read replicas."
  type        = number
  default     = 0
}

variable "multi_az" {
  description = "Run a standby in another zone."
  type        = bool
  default     = false
}

variable "backup_days" {
  description = "Days to keep RDS backups for point-in-time recovery. crew makes separate backups in another place."
  type        = number
  default     = 7

  validation {
    condition     = var.backup_days >= 1 && var.backup_days <= 35
    error_message = "RDS keeps backups for 1 to 35 days. Read replicas need at least one day."
  }
}

variable "protected" {
  description = "Protect the database from deletion, take a final snapshot if it is deleted, and change it in the maintenance window only."
  type        = bool
}

variable "insights" {
  description = "Turn on Performance Insights, which small instance classes lack."
  type        = bool
  default     = false
}
