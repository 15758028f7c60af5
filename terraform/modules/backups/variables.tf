variable "name" {
  description = "What the roles are called."
  type        = string
}

variable "bucket" {
  description = "The bucket's name: nobody in the world has another of this name."
  type        = string
}

variable "trusted" {
  description = "ARNs that may take the roles on; none: whom this account's own policies let."
  type        = list(string)
  default     = []
}

variable "undelete_days" {
  description = "How long what was removed can be brought back."
  type        = number
  default     = 14
}

variable "lock_days" {
  description = "How long nobody can remove a backup, not even the pruner; 0: no lock. Only for a new bucket, and less than retention keeps."
  type        = number
  default     = 0
}
