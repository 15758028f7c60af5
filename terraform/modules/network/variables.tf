variable "name" {
  description = "What it is called; everything in it bears the name."
  type        = string
}

variable "cidr" {
  description = "Its addresses: a /16, of which each subnet takes a /24."
  type        = string
}

variable "zones" {
  description = "Where hosts are; append new ones at the end, for a subnet's addresses follow from its place."
  type        = list(string)
}

variable "database_zones" {
  description = "Where databases may be: at least two."
  type        = list(string)
}
