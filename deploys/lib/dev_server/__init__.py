"""Dev servers: developers and their accounts."""
