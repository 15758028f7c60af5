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
