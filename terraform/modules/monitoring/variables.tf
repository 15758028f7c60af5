variable "name" {
  description = "Name of the resources, and prefix of their names."
  type        = string
}

variable "budget" {
  description = "Monthly budget in USD."
  type        = number
}

variable "thresholds" {
  description = "Percentages of the budget that trigger an alert."
  type        = list(number)
  default     = [50, 80, 100]
}

variable "mail" {
  description = "Mail addresses for alerts. Each must first confirm the subscription."
  type        = list(string)
  default     = []
}
