"""The results file and what is made of it."""
