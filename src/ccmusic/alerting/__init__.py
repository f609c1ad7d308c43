"""From Alertmanager to a WeCom group robot, with mail as the second channel; knows nothing of music."""
