"""The health of an environment's jobs, and the status page: one HTML file that also reads well on a phone."""
