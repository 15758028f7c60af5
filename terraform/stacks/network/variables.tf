variable "cidr" {
  type = string
}

variable "zones" {
  description = "Where hosts are."
  type        = list(string)
}

variable "database_zones" {
  description = "Where databases may be: at least two."
  type        = list(string)
}
