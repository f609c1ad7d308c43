"""The bridge from Alertmanager to a WeCom group robot, with mail as the second channel. Independent of the service."""
