"""What the service and the bridge need as processes: their environment, secrets, standard streams and signals."""
