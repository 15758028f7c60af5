variable "name" {
  description = "What it is called."
  type        = string
}

variable "budget" {
  description = "For a month, in USD."
  type        = number
}

variable "thresholds" {
  description = "Per cent of the budget."
  type        = list(number)
  default     = [50, 80, 100]
}

variable "mail" {
  description = "Addresses that are told; each has to confirm a mail first."
  type        = list(string)
  default     = []
}
