budget = 300
