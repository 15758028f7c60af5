variable "bucket" {
  type = string
}

variable "trusted" {
  description = "ARNs that may take the roles on; none: whom this account's own policies let."
  type        = list(string)
  default     = []
}

variable "undelete_days" {
  type    = number
  default = 14
}

variable "lock_days" {
  description = "How long nobody can remove a backup; 0: no lock."
  type        = number
  default     = 0
}
