"""The job `hosts`: compares hosts with their deploys."""
