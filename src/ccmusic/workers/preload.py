"""What the fork server imports and computes once, so that each worker starts in milliseconds.

Importing this module is an act: it is for the fork server alone.
"""

import signal
from contextlib import suppress

# An init system that stops a service signals every process of it. The front process drains and then ends the workers;
# a fork server that ended by itself at the signal would take them, and their jobs, along.
signal.signal(signal.SIGTERM, signal.SIG_IGN)

with suppress(ImportError):  # each worker will say which library is missing
    import ccmusic.inference.pipeline  # noqa: F401
    from ccmusic.models.golden import SIGNALS, recording

    for name in SIGNALS:
        for seconds in (10.0, 1.0):  # of the embedded model; any other length a worker computes itself
            recording(name, seconds)  # kept by a cache, which the workers inherit
