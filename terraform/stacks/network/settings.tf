# The same file in every stack: provider, tags and backend. crew sets the location of the state (see [terraform] state).

terraform {
  required_version = ">= 1.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 3.39"
    }
  }

  backend "s3" {}
}

provider "aws" {
  region = var.region

  default_tags {
    tags = local.tags
  }
}

variable "environment" {
  type = string
}

variable "region" {
  type = string
}

variable "project" {
  type = string
}

variable "owner" {
  description = "Team or person responsible for the resources."
  type        = string
}

variable "cost_center" {
  description = "Cost center that pays for the resources."
  type        = string
}

locals {
  name = "${var.project}-${var.environment}"

  tags = {
    Environment = var.environment
    Project     = var.project
    Owner       = var.owner
    CostCenter  = var.cost_center
  }
}
