"""Recordings with known answers, and clients that send them while a fault is active."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from faults.client import Answer, Client
from faults.service import Service
from support.recordings import tone, wav

TOLERANCE = 1e-3
PAUSE_SECONDS = 0.05
"""Pause between a client's requests, so that the processor stays free for what is measured."""

SHORT = wav(tone(440, 1.0) + tone(660, 1.0, 0.2))
"""The test recording: a small WAV."""

LONG = wav(tone(440, 240.0), form="FLAC")
LONG_WINDOWS = 300
"""With so many windows it keeps a worker busy for seconds, so that a fault can happen meanwhile."""


def distinct(index: int, seconds: float = 1.0) -> bytes:
    """A recording with other bytes, and so another hash, for each index."""
    return wav(tone(220 + index, seconds, 0.4))


def trailer(recording: bytes, fault: str) -> bytes:
    """A recording that injects a fault into the worker that gets it; its sound is unchanged."""
    return recording + b"ccmusic-fault:" + fault.encode()


def probabilities(answer: Answer) -> dict[str, float]:
    """The 16 probabilities of an answer."""
    return {p["genre"]: p["probability"] for p in answer.json["levels"]["16"]}


def differs(answer: Answer, reference: dict[str, float]) -> bool:
    """Whether an answer differs from the reference."""
    found = probabilities(answer)
    # written so that a NaN counts as wrong
    return found.keys() != reference.keys() or not all(abs(found[g] - reference[g]) <= TOLERANCE for g in reference)


class Traffic:
    """Two clients that send the test recording repeatedly and count the answers.

    Parameters
    ----------
    service : Service
        It must be green; its present answer is the reference.
    """

    def __init__(self, service: Service, clients: int = 2) -> None:
        self._service = service
        first = service.classify(SHORT)
        assert first.status == 200, first.text
        self.reference = probabilities(first)
        self._lock = threading.Lock()
        self._answered = 0
        self._wrong = 0
        self._differing = 0
        self._errors: Counter[str] = Counter()
        self._models: set[tuple[str, str, str]] = set()
        self._stop = threading.Event()
        self._flowing = threading.Event()
        self._in_flight = 0
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Traffic:
        self._flowing.set()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._flowing.set()
        for thread in self._threads:
            thread.join()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No request is in flight while the block runs."""
        self._flowing.clear()
        pause = threading.Event()
        while self._in_flight:
            pause.wait(0.005)
        yield
        self._flowing.set()

    def counts(self) -> tuple[int, int, Counter[str]]:
        """Requests answered, answers that were wrong, errors by kind."""
        with self._lock:
            return self._answered, self._wrong, Counter(self._errors)

    @property
    def differing(self) -> int:
        """Answers that were not the reference to the last digit."""
        with self._lock:
            return self._differing

    @property
    def models(self) -> set[tuple[str, str, str]]:
        """Name, version and hash of every model that has answered."""
        with self._lock:
            return set(self._models)

    def _send(self) -> None:
        client = Client(self._service.address, 60)
        while not self._stop.is_set():
            self._flowing.wait()
            with self._lock:
                if not self._flowing.is_set():
                    continue
                self._in_flight += 1
            kind: Any = None
            wrong = differing = False
            model: dict[str, str] = {}
            try:
                answer = client.ask("POST", "/v1/classify?top_k=16", SHORT, {"Content-Type": "audio/wav"})
                if answer.status == 200:
                    wrong = differs(answer, self.reference)
                    differing = probabilities(answer) != self.reference
                    model = answer.json["model"]
                else:
                    kind = f"{answer.status} {answer.problem}".strip()
            except Exception as error:  # every kind of missing answer counts
                kind = type(error).__name__
            with self._lock:
                self._in_flight -= 1
                self._answered += 1
                self._wrong += wrong
                self._differing += differing
                if model:
                    self._models.add((model["name"], model["version"], model["sha256"]))
                if kind is not None:
                    self._errors[kind] += 1
            self._stop.wait(PAUSE_SECONDS)
        client.close()
