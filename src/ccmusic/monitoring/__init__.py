"""The state of the service at one moment, its metrics, and drift of the music."""
