"""``python -m ccmusic.checkpoints``: the process in which the service prepares its model before its workers start.

The first line of standard input is JSON with the setting ``model`` and the options. Standard input then stays open;
when it closes, the parent process has ended, and this process exits too. Each line of standard output is JSON:
``alive`` every second, ``stage`` when a stage begins, and in the last line either ``directory`` and ``caveat``, or
``error`` and ``message``.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from ccmusic.checkpoints.prepare import Options, prepare
from ccmusic.errors import CcmusicError, ModelRefused
from ccmusic.models.store import locate

NICENESS = 5
"""The same as the workers', so that the service can answer probes meanwhile."""

logger = logging.getLogger("ccmusic.checkpoints")


ALIVE_SECONDS = 1.0
_sending = threading.Lock()
_finished = threading.Event()


def _send(**fields: Any) -> None:
    with _sending:
        print(json.dumps(fields), flush=True)


def _finish(**fields: Any) -> None:
    """Send the last line."""
    _finished.set()
    _send(**fields)


def _say_alive() -> None:
    """Show that the interpreter runs: a fetch may say nothing else for minutes."""
    for number in itertools.count(1):
        if _finished.wait(ALIVE_SECONDS):
            return
        with _sending:
            if not _finished.is_set():
                print(json.dumps({"alive": number}), flush=True)


def _exit_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def main() -> None:
    """Prepare the model that the first line of standard input names."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    threading.Thread(target=_say_alive, daemon=True).start()
    with suppress(OSError):  # some seccomp profiles refuse it
        os.nice(NICENESS)
    options = Options(
        model_cache=Path(request["model_cache"]),
        import_audio=None if request["import_audio"] is None else Path(request["import_audio"]),
        hub_endpoint=request["hub_endpoint"],
        hub_token_to_mirror=request["hub_token_to_mirror"],
        hub_offline=request["hub_offline"],
        threads=request["threads"],
    )
    try:
        location, caveat = prepare(locate(request["model"]), options, lambda stage: _send(stage=stage))
    except CcmusicError as error:
        # only the class and the text are sent: the arguments of some errors cannot be written as JSON
        _finish(error=type(error).__name__, message=str(error))
    except MemoryError:
        _finish(error=ModelRefused.__name__, message="there is not enough memory to import the checkpoint")
    except Exception as error:
        logger.exception("importing failed")
        _finish(error=ModelRefused.__name__, message=f"importing failed: {type(error).__name__}: {error}")
    else:
        _finish(directory=str(location.directory), caveat=caveat)


if __name__ == "__main__":
    main()
