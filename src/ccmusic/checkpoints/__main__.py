"""``python -m ccmusic.checkpoints``: what the service runs, in a process of its own, before its workers start.

Its standard input is a line of JSON and then stays open: when it ends, whoever asked has gone, and so does this
process. Its standard output is lines of JSON: ``stage`` as each begins, and last ``directory`` and ``caveat``, or
``error`` and ``message``.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

from ccmusic.checkpoints.prepare import Options, prepare
from ccmusic.errors import CcmusicError, ModelRefused
from ccmusic.models.store import locate

NICENESS = 5
"""As the workers', so that probes are answered meanwhile."""

logger = logging.getLogger("ccmusic.checkpoints")


def _say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def main() -> None:
    """Prepare what the first line asks for."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(NICENESS)
    options = Options(
        model_cache=Path(asked["model_cache"]),
        import_audio=None if asked["import_audio"] is None else Path(asked["import_audio"]),
        hub_endpoint=asked["hub_endpoint"],
        hub_token_to_mirror=asked["hub_token_to_mirror"],
        hub_offline=asked["hub_offline"],
        threads=asked["threads"],
    )
    try:
        location, caveat = prepare(locate(asked["model"]), options, lambda stage: _say(stage=stage))
    except CcmusicError as error:
        # an error with a message of several parts does not survive the way in words; its class and text do
        _say(error=type(error).__name__, message=str(error))
    except MemoryError:
        _say(error=ModelRefused.__name__, message="there is not enough memory to import the checkpoint")
    except Exception as error:
        logger.exception("importing failed")
        _say(error=ModelRefused.__name__, message=f"importing failed: {type(error).__name__}: {error}")
    else:
        _say(directory=str(location.directory), caveat=caveat)


if __name__ == "__main__":
    main()
