"""The first line of each file that a deploy writes."""

SENTENCE = "Written by groundcrew; changes made here are overwritten."
HEADER = f"# {SENTENCE}\n"
