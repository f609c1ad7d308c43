"""A worker: one process, one pipeline, one recording at a time.

Decoding happens here, so that a file which crashes a codec costs one job and never the service.
"""

from __future__ import annotations

import ctypes
import faulthandler
import logging
import math
import os
import signal
import sys
import threading
import time
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, cast

from ccmusic.errors import CcmusicError, DependencyUnavailable, ModelChanged, ModelRefused, NonFiniteOutput, OutOfMemory
from ccmusic.workers import faults
from ccmusic.workers.channel import (
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

if TYPE_CHECKING:
    from ccmusic.inference.pipeline import Pipeline

logger = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
CHEAP_SECONDS = 0.02
CANARY_SHARE = 0.1
"""A network that takes longer than `CHEAP_SECONDS` for the known sound is not asked it after every answer, but as often
as costs this share of its work; that leaves the self-test, whose period bounds how long a change can go unseen.

Processor time, between the embedded networks, which take 3 ms and twice that when their core is shared, and the
official checkpoints, which take 45 ms and more. Not time on the wall: a worker that waits for a processor on a busy
machine would take its small network for a large one, and let answers go unvouched for."""
MEASURING_SECONDS = 0.1
"""Within this much processor time a fresh worker looks for a cheap run of the known sound: the first are dearer."""
EXIT_OUT_OF_MEMORY = 12
"""Nothing smaller can be done when there is no memory even to receive a recording: half of it is still in the pipe."""


def run(
    connection: Connection, pulse: Heartbeat, dump: Connection, lifeline: Connection, options: WorkerOptions
) -> None:
    """Body of the worker process: load, say so, then answer until the front process hangs up.

    Parameters
    ----------
    connection : Connection
        The worker's end of the pipe.
    pulse : Heartbeat
        Where it shows that it lives and what it does.
    dump : Connection
        Where its stack is written at SIGUSR1 or a crash.
    lifeline : Connection
        Reads as ended when the front process has gone.
    options : WorkerOptions
    """
    _bind_to_parent()
    faulthandler.enable(dump.fileno())
    if hasattr(faulthandler, "register"):
        faulthandler.register(signal.SIGUSR1, dump.fileno(), all_threads=True)
    # Ctrl-C and an init system's SIGTERM reach the whole group; when to end is for the front process to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.nice(options.niceness)
    threading.Thread(target=_beat, args=(pulse, lifeline), name="ccmusic-pulse", daemon=True).start()
    try:
        armed = faults.Armed(options)
        worker = _Worker(_load(options), pulse, armed)
    except CcmusicError as error:
        connection.send(Failed(error))
        return
    except ImportError as error:
        connection.send(Failed(DependencyUnavailable(str(error))))
        return
    except Exception as error:
        logger.exception("loading the model failed")
        connection.send(Failed(ModelRefused(f"{type(error).__name__}: {error}")))
        return
    connection.send(worker.ready())
    while True:
        pulse.enter("idle")
        try:
            order = connection.recv()
        except (EOFError, OSError):
            return
        except MemoryError:
            os._exit(EXIT_OUT_OF_MEMORY)
        pulse.enter("receive")  # not before: of a worker that ends idle, no job is to blame
        reply = worker.obey(order)
        pulse.enter("reply")
        try:
            connection.send(reply)
        except OSError:
            return  # the front process has gone; so may we


class _Worker:
    """A loaded pipeline, and what it answered when it was fresh."""

    def __init__(self, pipeline: Pipeline, pulse: Heartbeat, armed: faults.Armed) -> None:
        self._pipeline = pipeline
        self._pulse = pulse
        self._armed = armed
        pipeline.on_stage = lambda stage: pulse.enter(cast("Stage", stage))
        self._signature = pipeline.verify()
        self._voucher = pipeline.canary()
        self._unvouched_seconds = 0.0
        self._vouch_seconds = math.inf
        started = time.process_time()
        while self._vouch_seconds > CHEAP_SECONDS and time.process_time() - started < MEASURING_SECONDS:
            self._ask_known_sound()
        started = time.perf_counter()
        if pipeline.verify() != self._signature:
            raise ModelRefused("the network answers the same golden clips differently each time")
        self._seconds = time.perf_counter() - started

    def ready(self) -> Ready:
        pipeline = self._pipeline
        card = pipeline.card
        return Ready(
            pipeline.identity,
            pipeline.backend,
            self._seconds,
            card.reference_mix,
            pipeline.caveat,
            card.reference,
            card.taxonomies,
        )

    def obey(self, order: Order) -> Reply:
        match order:
            case Job():
                return self._answer(order)
            case SelfTest():
                return self._test()
            case Inject(fault, size):
                return Injected(self._armed.inject(fault, size, self._pipeline))

    def _answer(self, job: Job) -> Reply:
        try:
            self._armed.before(job)
            started = time.process_time()
            result = self._pipeline.classify(job.source, job.plan, spectrogram=job.spectrogram, explain=job.explain)
            self._vouch(time.process_time() - started)
        except CcmusicError as error:
            return Failed(error)
        except Exception as error:
            if _is_out_of_memory(error):
                return Failed(OutOfMemory("the worker ran out of memory on this recording; try again, or send less"))
            logger.exception("a job failed")
            # Not the original: an exception of a library may not survive pickling, and its text is not for clients.
            return Failed(CcmusicError(f"an unexpected {type(error).__name__} while classifying"))
        return result

    def _vouch(self, worked_seconds: float) -> None:
        self._unvouched_seconds += worked_seconds
        if self._vouch_seconds > max(CHEAP_SECONDS, CANARY_SHARE * self._unvouched_seconds):
            return
        self._unvouched_seconds = 0.0
        if self._ask_known_sound() != self._voucher:
            raise ModelChanged("the network answers a known sound with other bits than at the start")

    def _ask_known_sound(self) -> bytes:
        """The cheapest run is what it costs: the others shared their core, or were the first."""
        started = time.process_time()
        answer = self._pipeline.canary()
        self._vouch_seconds = min(self._vouch_seconds, time.process_time() - started)
        return answer

    def _test(self) -> SelfTested:
        self._pulse.enter("self_test")
        started = time.perf_counter()
        cause = None
        try:
            if self._pipeline.verify() != self._signature:
                cause = "the golden clips were answered with other bits than at the start"
        except NonFiniteOutput as error:
            cause = str(error)
        except Exception as error:  # any way of not answering is a wrong answer
            cause = f"{type(error).__name__}: {error}"
        return SelfTested(time.perf_counter() - started, cause)


def _load(options: WorkerOptions) -> Pipeline:
    # Here and not above: the front process imports this module too, and needs no codec and no network runtime.
    from ccmusic.inference.backend import Execution
    from ccmusic.inference.pipeline import Pipeline

    return Pipeline.load(options.location, options.limits, Execution(options.threads, options.device))


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    # the network's runtime, libsndfile and the CUDA libraries have words for it, and no class of their own
    text = str(error).lower()
    words = ("bad_alloc", "bad allocation", "failed to allocate memory", "out of memory", "cannot allocate memory")
    return any(word in text for word in words)


def _beat(pulse: Heartbeat, lifeline: Connection) -> None:
    """Show that the interpreter runs; end the process when the front process has gone."""
    while True:
        pulse.beat()
        if lifeline.poll(BEAT_SECONDS):
            os._exit(1)


def _bind_to_parent() -> None:
    """Have the kernel end this process when the fork server ends, whatever this process is doing then."""
    if not sys.platform.startswith("linux"):
        return
    # The fork server ends when nobody holds its lifeline any more, and hands a copy of that to each process it makes:
    # ours must go, or a worker that hangs would keep the fork server, and that would keep the worker.
    server: Any = forkserver._forkserver
    if server._forkserver_alive_fd is not None:
        os.close(server._forkserver_alive_fd)
        server._forkserver_alive_fd = None
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent or parent == 1:
        os._exit(1)  # it ended between the two calls
