"""Running: settings, workers, the pytest plugin, the command line."""
