"""How ``ccmusic serve`` and ``ccmusic wecom-bridge`` run and end: each cause has its exit code and one line."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ccmusic.commands.exit_codes import ExitCode
from ccmusic.commands.messages import warn

logger = logging.getLogger(__name__)

Announce = Callable[[str], None]


def run_server(serve: Callable[[Announce], None], address_settings: str) -> ExitCode:
    """Run a server until it ends.

    Parameters
    ----------
    serve : callable
        Is called with a function that prints a line for people, such as the address. Returns when the server has ended.
    address_settings : str
        Which settings choose the address, for the message.
    """
    # imported late: `--help` must be fast
    from ccmusic.health.addresses import CannotListen
    from ccmusic.process.log_output import buffered_output
    from ccmusic.process.orphans import orphans_reaped
    from ccmusic.process.streams import OutputClosed, OutputFull, announce
    from ccmusic.process.temporary import choose_temporary_directory

    with buffered_output() as stdout:
        try:
            choose_temporary_directory()
            with orphans_reaped():
                serve(lambda line: announce(line, stdout))
        except CannotListen as error:
            warn(f"{error} ({address_settings})")
            return ExitCode.ADDRESS
        except OutputFull as error:
            warn(f"{error}; make room, or send the output elsewhere (> /dev/null)")
            return ExitCode.OUTPUT_FULL
        except OutputClosed as error:
            warn(f"{error}; send the output elsewhere (> /dev/null)")
            return ExitCode.OUTPUT_CLOSED
        except OSError as error:
            logger.debug("the server ended", exc_info=True)
            warn(f"the system refuses something that the server needs: {error}")
            return ExitCode.REFUSED
    return ExitCode.OK
