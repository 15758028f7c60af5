"""Take a backup set."""
