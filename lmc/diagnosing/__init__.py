"""The diagnosis of a reader's own models: whether their weights can be averaged, and why."""
