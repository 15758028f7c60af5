variable "name" {
  description = "Name of the VPC, and prefix of all names in it."
  type        = string
}

variable "cidr" {
  description = "Address range: a /16. Each subnet uses a /24 of it."
  type        = string

  validation {
    condition     = can(cidrhost(var.cidr, 0)) && endswith(var.cidr, "/16")
    error_message = "Use an IPv4 range of 65,536 addresses, such as 10.20.0.0/16."
  }
}

variable "zones" {
  description = "Zones for hosts."
  type        = list(string)

  validation {
    condition     = length(var.zones) > 0 && alltrue([for zone in var.zones : can(regex("^[a-z]{2}(-[a-z]+)+-[0-9][a-f]$", zone))])
    error_message = "Name at least one availability zone, such as eu-central-1a."
  }
}

variable "database_zones" {
  description = "Zones for databases, at least two."
  type        = list(string)

  validation {
    condition     = length(var.database_zones) > 1 && alltrue([for zone in var.database_zones : can(regex("^[a-z]{2}(-[a-z]+)+-[0-9][a-f]$", zone))])
    error_message = "RDS requires subnets in two zones, also for a database in one zone. Name at least two, such as eu-central-1a and eu-central-1b."
  }
}

variable "nat" {
  description = "Let the private subnets reach the internet through a NAT gateway. It costs about 35 USD a month."
  type        = bool
  default     = false
}

variable "flow_log_days" {
  description = "Days to keep flow logs: who talked to whom in the VPC. 0: no flow logs."
  type        = number
  default     = 30

  validation {
    condition     = contains([0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400], var.flow_log_days)
    error_message = "CloudWatch keeps logs for 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365 or 400 days. 0 makes no flow logs."
  }
}
