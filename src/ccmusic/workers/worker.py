"""A worker: one process, one pipeline, one recording at a time.

Decoding happens in the worker, so that a file that crashes a codec ends one worker and never the service.
"""

from __future__ import annotations

import errno
import faulthandler
import logging
import math
import os
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from ccmusic.audio.kernel_bounds import BOUND_SIGNAL, DecodingBounds
from ccmusic.errors import (
    CcmusicError,
    DependencyUnavailable,
    ModelChanged,
    ModelRefused,
    NonFiniteOutput,
    NoRoom,
    OutOfMemory,
)
from ccmusic.process.limits import no_memory, why_not_started
from ccmusic.process.sandbox import confine
from ccmusic.workers import faults, lifeline
from ccmusic.workers.channel import (
    ORDERS,
    Failed,
    Inject,
    Injected,
    Job,
    Order,
    Ready,
    Reply,
    SelfTest,
    SelfTested,
    WorkerOptions,
)
from ccmusic.workers.heartbeat import BEAT_SECONDS, Heartbeat, Stage
from ccmusic.workers.message_stream import MessageStream
from ccmusic.workers.process_info import lower_priority
from ccmusic.workers.served_model import ServedModel

if TYPE_CHECKING:
    from ccmusic.inference.pipeline import Pipeline

logger = logging.getLogger(__name__)

CHEAP_SHARE = 0.2
"""Up to this share of the golden clips' processor time, the canary check runs after every answer.

The limit lies between the embedded networks, whose golden clips are several times as long as the canary clips, and the
official checkpoints, whose golden clips are two windows. It is a share and not a time: on a slow machine, a worker
would take its small network for a large one and skip canary checks. It is processor time and not wall time: so would a
worker that waits for a processor.
"""
CANARY_SHARE = 0.1
"""A canary check that is not cheap runs only so often that it costs this share of the work. The period of the self-test
then bounds how long a changed network can stay unnoticed."""
EXIT_OUT_OF_MEMORY = 12
"""Exit code if there is not enough memory to receive a recording. The rest of it is in the pipe, so the worker ends."""


def run(connection: MessageStream, heartbeat: Heartbeat, dump: int, lifeline_fd: int) -> None:
    """Body of the worker process: load the model, report it, then answer until the front process closes the pipe.

    Parameters
    ----------
    connection : MessageStream
        The worker's end of the connection. The first message is the `WorkerOptions`.
    heartbeat : Heartbeat
    dump : int
        The pipe that receives the stack of each thread at SIGUSR1 or a crash.
    lifeline_fd : int
        See `lifeline`: the worker ends when the front process has ended.
    """
    lifeline.end_with(lifeline_fd)
    faulthandler.enable(dump)
    if hasattr(faulthandler, "register"):
        faulthandler.register(signal.SIGUSR1, dump, all_threads=True)
        faulthandler.register(BOUND_SIGNAL, dump, all_threads=True, chain=True)  # the signal then ends the process
    # Ctrl-C and an init system's SIGTERM reach the whole group, but the front process decides when a worker ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    loaded = _begin(connection, heartbeat, lifeline_fd)
    if not isinstance(loaded, Worker):
        if loaded is not None:
            connection.send(loaded)
        return
    worker = loaded
    connection.send(worker.ready())
    while True:
        heartbeat.enter("idle")
        try:
            order = connection.receive(ORDERS)
        except (EOFError, OSError):
            return
        except MemoryError:
            os._exit(EXIT_OUT_OF_MEMORY)
        heartbeat.enter("receive")  # not earlier: if a worker ends while it is idle, no job is the cause
        reply = worker.execute(order)
        heartbeat.enter("reply")
        try:
            connection.send(reply)
        except OSError:
            return  # the front process has ended
        del order, reply


class Worker:
    """A loaded pipeline, and its answers at the start."""

    def __init__(self, pipeline: Pipeline, heartbeat: Heartbeat, active_faults: faults.ActiveFaults) -> None:
        self._pipeline = pipeline
        self._heartbeat = heartbeat
        self._active_faults = active_faults
        pipeline.on_stage = lambda stage: heartbeat.enter(cast("Stage", stage))
        self._signature = pipeline.verify()
        self._canary = pipeline.canary()
        self._unchecked_seconds = 0.0
        started, began = time.perf_counter(), time.process_time()
        if pipeline.verify() != self._signature:
            raise ModelRefused("the network gives different answers to the same golden clips")
        self._seconds = time.perf_counter() - started
        golden_seconds = time.process_time() - began
        self._cheap_seconds = CHEAP_SHARE * golden_seconds
        self._canary_seconds = math.inf
        began = time.process_time()
        while self._canary_seconds > self._cheap_seconds and time.process_time() - began < golden_seconds:
            self._run_canary()  # until one is cheap: first runs are slower

    def ready(self) -> Ready:
        pipeline = self._pipeline
        card = pipeline.card
        served = ServedModel(
            identity=pipeline.identity,
            backend=pipeline.backend,
            taxonomies=card.taxonomies,
            reference_mix=card.reference_mix,
            training_profile=card.reference,
            caveat=pipeline.caveat,
            answer_hashes=card.answer_hashes(),
        )
        return Ready(served, self._seconds)

    def execute(self, order: Order) -> Reply:
        match order:
            case Job():
                return self._answer(order)
            case SelfTest():
                return self._test()
            case Inject(fault, size):
                return Injected(self._active_faults.inject(fault, size, self._pipeline))

    def _answer(self, job: Job) -> Reply:
        try:
            self._active_faults.before(job)
            started = time.process_time()
            result = self._pipeline.classify(job.take(), job.plan, spectrogram=job.spectrogram, explain=job.explain)
            self._check_canary(time.process_time() - started)
        except CcmusicError as error:
            return Failed(error)
        except Exception as error:
            if _is_out_of_memory(error):
                return Failed(OutOfMemory("the worker ran out of memory on this recording; try again, or send less"))
            logger.exception("a job failed")
            # Not the original error: no message carries a library's exception, and its text is not for clients.
            return Failed(CcmusicError(f"an unexpected {type(error).__name__} while classifying"))
        return result

    def _check_canary(self, worked_seconds: float) -> None:
        """Raise `ModelChanged` if the network's answer to the canary clip has changed; skipped if it costs too much."""
        self._unchecked_seconds += worked_seconds
        if self._canary_seconds > max(self._cheap_seconds, CANARY_SHARE * self._unchecked_seconds):
            return
        self._unchecked_seconds = 0.0
        if self._run_canary() != self._canary:
            raise ModelChanged("the network's answer to the canary clip is not bit-equal to that at the start")

    def _run_canary(self) -> bytes:
        """The answer to the canary clip. The fastest run counts as its cost; others are slow for other reasons."""
        started = time.process_time()
        answer = self._pipeline.canary()
        self._canary_seconds = min(self._canary_seconds, time.process_time() - started)
        return answer

    def _test(self) -> SelfTested:
        self._heartbeat.enter("self_test")
        started = time.perf_counter()
        cause = None
        try:
            if self._pipeline.verify() != self._signature:
                cause = "the answers to the golden clips are not bit-equal to those at the start"
        except NonFiniteOutput as error:
            cause = str(error)
        except Exception as error:  # no answer counts as a wrong answer
            cause = f"{type(error).__name__}: {error}"
        return SelfTested(time.perf_counter() - started, cause)


def _begin(connection: MessageStream, heartbeat: Heartbeat, lifeline_fd: int) -> Worker | Failed | None:
    """Start the heartbeat and load the model; None if the front process has closed the pipe."""
    try:
        threading.Thread(target=_beat, args=(heartbeat, lifeline_fd), name="ccmusic-heartbeat", daemon=True).start()
        options = connection.receive((WorkerOptions,))
        lower_priority(options.niceness)  # of this thread; the heartbeat keeps its priority
        active_faults = faults.ActiveFaults(options)
        pipeline = _load(options)
        pipeline.kernel = DecodingBounds(options.limits)
        pipeline.quiet = True
        loaded = Worker(pipeline, heartbeat, active_faults)
        confine(options.max_descriptors, options.max_file_bytes, no_network=options.sandbox)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return None
    except Exception as error:
        return Failed(_why_not_loaded(error))
    return loaded


def _why_not_loaded(error: Exception) -> CcmusicError:
    """The error to report: no message carries a library's exception, and it does not name the limit that is reached."""
    if isinstance(error, CcmusicError):
        return error
    if isinstance(error, ImportError):
        return DependencyUnavailable(str(error))
    if "start new thread" in str(error) or "pthread_create" in str(error):
        return NoRoom(why_not_started(errno.EAGAIN, "thread"))
    if _is_out_of_memory(error):
        return NoRoom(f"there is not enough memory to load the model: {no_memory()}")
    logger.error("loading the model failed", exc_info=error)
    return ModelRefused(f"{type(error).__name__}: {error}")


def _load(options: WorkerOptions) -> Pipeline:
    # Imported late: the front process imports this module too, and must not load codecs and network runtimes.
    from ccmusic.inference.backend import Execution
    from ccmusic.inference.pipeline import Pipeline

    return Pipeline.load(options.location, options.limits, Execution(options.threads, options.device))


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    # the network's runtime, libsndfile and the CUDA libraries have no exception class for it, only messages
    text = str(error).lower()
    messages = ("bad_alloc", "bad allocation", "failed to allocate memory", "out of memory", "cannot allocate memory")
    return any(message in text for message in messages)


def _beat(heartbeat: Heartbeat, lifeline_fd: int) -> None:
    """Update the heartbeat; end the process when the front process has ended, where the kernel does not."""
    while True:
        with suppress(MemoryError):  # the recording that is being decoded may have reached the bound
            heartbeat.beat()
        if lifeline.has_ended(lifeline_fd, BEAT_SECONDS):
            os._exit(1)
