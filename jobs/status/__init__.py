"""The status page: one file that says how everything is, for whoever opens it on a phone at night."""
