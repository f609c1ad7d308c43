"""The name of the service and the version of the package. The build reads the version from here."""

__version__ = "0.1.0"

SERVICE = "ccmusic-database"
"""How the service names itself in ``/health``; docs/contract.md fixes it."""
