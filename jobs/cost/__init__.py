"""What the month costs, what it will come to, and what of that is news."""
