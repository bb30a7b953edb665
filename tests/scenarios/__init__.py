"""Scenarios as text: what the fold makes of a story, fact by fact, in lines that a review reads."""
