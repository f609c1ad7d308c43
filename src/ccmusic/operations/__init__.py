"""What `gate` and `doctor` do: check a service from outside, check a machine, inject a fault and watch it."""
