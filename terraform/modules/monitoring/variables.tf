variable "name" {
  description = "Name of the resources, and prefix of their names."
  type        = string
}

variable "budget" {
  description = "Monthly budget in USD."
  type        = number

  validation {
    condition     = var.budget > 0
    error_message = "Use a budget above 0 USD."
  }
}

variable "thresholds" {
  description = "Percentages of the budget that trigger an alert."
  type        = list(number)
  default     = [50, 80, 100]

  validation {
    condition     = length(var.thresholds) <= 5 && alltrue([for percent in var.thresholds : percent > 0])
    error_message = "AWS allows at most five alerts per budget. Each is a percentage above 0."
  }
}

variable "mail" {
  description = "Mail addresses for alerts. Each must first confirm the subscription."
  type        = list(string)
  default     = []
}
