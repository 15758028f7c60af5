variable "bucket" {
  type = string
}

variable "trusted" {
  description = "ARNs that can assume the roles. Default: principals of this account whose policies allow it."
  type        = list(string)
  default     = []
}

variable "undelete_days" {
  type    = number
  default = 14
}

variable "object_lock" {
  description = "Whether the buckets support object lock, for [store] lock in the environment file. It cannot be disabled again."
  type        = bool
  default     = false
}

variable "replica_bucket" {
  description = "Name of a second bucket in another region, for [copies] in the environment file. Empty: none."
  type        = string
  default     = ""
}

variable "replica_region" {
  description = "Region of the second bucket."
  type        = string
  default     = ""

  validation {
    condition     = var.replica_bucket == "" || !contains(["", var.region], var.replica_region)
    error_message = "The second bucket needs a region other than that of the first."
  }
}
