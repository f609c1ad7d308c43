"""The state of the service at one moment, its metrics, and whether the music drifts."""
