"""Making what a run lacks: jobs, workers, Ray, order of work."""
