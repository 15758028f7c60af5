budget = 2500
mail   = ["ops@acme.example"]
