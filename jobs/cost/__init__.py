"""The cloud bill: spending and forecast against the budget, unusual days, and the notices about them."""
