"""What makes models of official PyTorch checkpoints, on disk or on a hub, without torch."""
