"""A service asked from outside, a machine looked at, a fault injected and watched."""
