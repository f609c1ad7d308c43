"""From a PyTorch checkpoint, on disk or on a hub, to a model directory that serves: without torch."""
