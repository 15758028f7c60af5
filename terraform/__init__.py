"""The Terraform wrapper: plan and apply the stacks of an environment, and detect drift."""
