variable "name" {
  description = "Name of the VPC, and prefix of all names in it."
  type        = string
}

variable "cidr" {
  description = "Address range: a /16. Each subnet uses a /24 of it."
  type        = string
}

variable "zones" {
  description = "Zones for hosts. Append new zones at the end: the position of a zone determines the addresses of its subnet."
  type        = list(string)
}

variable "database_zones" {
  description = "Zones for databases, at least two."
  type        = list(string)
}
