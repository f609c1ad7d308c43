"""What the fork server imports and computes once, so that each worker starts in milliseconds.

Importing this module changes the process; only the fork server imports it.
"""

import signal
from contextlib import suppress

# An init system that stops a service sends the signal to each of its processes. The front process first finishes its
# jobs and then ends the workers. If the fork server ended at the signal, the workers and their jobs would end with it.
signal.signal(signal.SIGTERM, signal.SIG_IGN)

with suppress(ImportError):  # each worker reports which library is missing
    import ccmusic.inference.pipeline  # noqa: F401
    from ccmusic.models.golden import SIGNALS, recording

    for name in SIGNALS:
        for seconds in (10.0, 1.0):  # lengths of the embedded model; a worker computes any other length itself
            recording(name, seconds)  # the workers inherit its cache
