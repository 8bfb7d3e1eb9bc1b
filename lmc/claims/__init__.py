"""Claims: expectations, statistics, judging, and the paper's claims as data."""
