"""Point-in-time recovery: what the repositories of pgBackRest can restore, and verifications of it."""
