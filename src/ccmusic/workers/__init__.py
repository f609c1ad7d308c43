"""The processes that classify recordings, and the supervisor that keeps them alive."""
