"""A worker: one process, one pipeline, one recording at a time.

Decoding happens here, so that a file which crashes a codec costs one job and never the service.
"""

from __future__ import annotations

import logging
import signal
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from ccmusic.errors import CcmusicError, ModelRefused
from ccmusic.workers.channel import Failed, Job, Ready, Reply, WorkerOptions

if TYPE_CHECKING:
    from ccmusic.inference.pipeline import Pipeline

logger = logging.getLogger(__name__)


def run(connection: Connection, options: WorkerOptions) -> None:
    """Body of the worker process: load, say so, then answer jobs until the front process hangs up.

    Parameters
    ----------
    connection : Connection
        The worker's end of the pipe.
    options : WorkerOptions
    """
    # Ctrl-C reaches the whole group; when to end is for the front process to say, by closing the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Here and not above: the front process imports this module too, and needs no codec and no network runtime.
    from ccmusic.inference.pipeline import Pipeline

    try:
        pipeline = Pipeline.load(options.location, options.limits, options.threads)
    except CcmusicError as error:
        connection.send(Failed(error))
        return
    except Exception as error:
        logger.exception("loading the model failed")
        connection.send(Failed(ModelRefused(f"{type(error).__name__}: {error}")))
        return
    connection.send(Ready(pipeline.identity))
    while True:
        try:
            job = connection.recv()
        except (EOFError, OSError):
            return
        try:
            connection.send(_answer(pipeline, job))
        except OSError:
            return  # the front process has gone; so may we


def _answer(pipeline: Pipeline, job: Job) -> Reply:
    try:
        return pipeline.classify(job.source, job.plan, spectrogram=job.spectrogram)
    except CcmusicError as error:
        return Failed(error)
    except Exception as error:
        logger.exception("a job failed")
        # Not the original: an exception of a library may not survive pickling, and its text is not for clients.
        return Failed(CcmusicError(f"an unexpected {type(error).__name__} while classifying"))
