"""The HTTP service: routes, checks, errors, limits, start and drain."""
