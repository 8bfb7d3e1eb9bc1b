"""The content-addressed store: models, measurements, leases, archives, upkeep."""
