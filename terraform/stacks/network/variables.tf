variable "cidr" {
  type = string
}

variable "zones" {
  description = "Zones for hosts."
  type        = list(string)
}

variable "database_zones" {
  description = "Zones for databases, at least two."
  type        = list(string)
}

variable "nat" {
  description = "Let the private subnets reach the internet through a NAT gateway. It costs about 35 USD a month."
  type        = bool
  default     = false
}

variable "flow_log_days" {
  description = "Days to keep flow logs. 0: no flow logs."
  type        = number
  default     = 30
}
