"""`ccmusic serve` whose workers wait for CCMUSIC_TEST_LOAD_SECONDS before they load: a stub for a slow model.

As a program it starts the service; as a module it is what the workers' fork server imports besides its own.
"""

from __future__ import annotations

import os
import sys
import time

SECONDS = float(os.environ["CCMUSIC_TEST_LOAD_SECONDS"])

if __name__ == "__main__":
    from ccmusic import cli
    from ccmusic.process import child_environment
    from ccmusic.workers import fork_server

    fork_server.PRELOADED.append("slow_loading")
    child_environment.NAMES.add("CCMUSIC_TEST_LOAD_SECONDS")
    sys.exit(cli.main(sys.argv[1:]))
else:
    from ccmusic.workers import worker

    load = worker._load

    def load_slowly(options):
        time.sleep(SECONDS)
        return load(options)

    worker._load = load_slowly
