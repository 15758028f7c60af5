"""What deploys are made of; what a person runs lies one directory up."""
