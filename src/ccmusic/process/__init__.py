"""What the service, the bridge, `batch` and `tag` need as processes: secrets, standard streams, locks, signals."""
