"""Two witnesses of a service: a process that polls its health endpoints, and threads that ask it for answers."""

from __future__ import annotations

import http.client
import multiprocessing
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from urllib.parse import urlsplit

POLL_SECONDS = 0.05
POLL_TIMEOUT_SECONDS = 2.0
REQUEST_PAUSE_SECONDS = 0.5
REQUESTS_AT_ONCE = 2  # as many as there are workers, so that both are asked
CLIENT_TIMEOUT_SECONDS = 12.0  # above every service's own 10 s, so that its own word is heard
TOLERANCE = 1e-3  # of a probability; the same model on the same machine repeats itself far more closely

Ranking = dict[str, float]
"""Genres and their probabilities in an answer; empty if it is none."""
Read = Callable[[bytes], Ranking]
Poll = tuple[float, str]


def ask(url: str, path: str, body: bytes | None, headers: dict[str, str], timeout: float) -> tuple[str, bytes]:
    """Status (or the lack of one, in words) and body of one request on a connection of its own."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=timeout)
    try:
        connection.request("GET" if body is None else "POST", path, body, headers)
        answer = connection.getresponse()
        return str(answer.status), answer.read()
    except TimeoutError:
        return f"silent {timeout:.0f} s", b""
    except (OSError, http.client.HTTPException) as error:
        return "refused" if isinstance(error, ConnectionRefusedError) else "cut off", b""
    finally:
        connection.close()


def same(left: Ranking, right: Ranking) -> bool:
    """Whether two answers name the same genres with the same probabilities."""
    return left.keys() == right.keys() and all(abs(left[genre] - right[genre]) <= TOLERANCE for genre in left)


class Poller:
    """Asks each endpoint every 50 ms from a process of its own, so that our own work does not delay it.

    Parameters
    ----------
    endpoints : dict of str to tuple
        The address (such as ``http://127.0.0.1:80``) and the path of each endpoint, under the name used in the results.
    """

    def __init__(self, endpoints: dict[str, tuple[str, str]]) -> None:
        context = multiprocessing.get_context("spawn")
        self._end = context.Event()
        self._receiver, sender = context.Pipe(duplex=False)
        self._process = context.Process(target=_poll, args=(endpoints, self._end, sender), daemon=True)
        self._process.start()
        self._receiver.recv()  # it polls from now on

    def stop(self) -> dict[str, list[Poll]]:
        """For each endpoint the polls: when asked (`time.monotonic`, one clock for all processes) and what it said."""
        self._end.set()
        polls: dict[str, list[Poll]] = self._receiver.recv()
        self._process.join()
        return polls


def _poll(endpoints: dict[str, tuple[str, str]], end: Event, sender: Connection) -> None:
    polls: dict[str, list[Poll]] = {endpoint: [] for endpoint in endpoints}
    parent = multiprocessing.parent_process()

    def watch(endpoint: str) -> None:
        while not end.is_set() and parent is not None and parent.is_alive():  # a bench that is killed leaves no poller
            asked = time.monotonic()
            polls[endpoint].append((asked, ask(*endpoints[endpoint], None, {}, POLL_TIMEOUT_SECONDS)[0]))
            end.wait(max(0.0, asked + POLL_SECONDS - time.monotonic()))

    threads = [threading.Thread(target=watch, args=(endpoint,)) for endpoint in endpoints]
    for thread in threads:
        thread.start()
    sender.send("polling")
    for thread in threads:
        thread.join()
    sender.send(polls)


@dataclass(frozen=True, slots=True)
class Request:
    """One request: when it was sent, when it ended, and `right`, `wrong` or what came instead of an answer."""

    sent: float
    ended: float
    outcome: str


class Caller:
    """Sends a recording twice every half second, whether or not the earlier ones were answered, as users do."""

    def __init__(self, request: tuple[str, str, bytes, dict[str, str]], read: Read, expected: Ranking) -> None:
        self._request = request
        self._read = read
        self._expected = expected
        self._end = threading.Event()
        self._threads: list[threading.Thread] = []
        self._sent = threading.Event()
        self.requests: list[Request] = []
        self._pacer = threading.Thread(target=self._pace)
        self._pacer.start()

    def stop(self) -> list[Request]:
        """The requests in the order of sending, once the last one has ended."""
        self._end.set()
        self._pacer.join()
        for thread in self._threads:
            thread.join()
        return sorted(self.requests, key=lambda request: request.sent)

    def wait_after_sending(self, seconds: float) -> None:
        """Return so long after the next requests were sent; thus a fault strikes a busy worker, or an idle one."""
        self._sent.clear()
        self._sent.wait()
        self._end.wait(seconds)

    def _pace(self) -> None:
        while not self._end.is_set():
            for _ in range(REQUESTS_AT_ONCE):
                self._threads.append(threading.Thread(target=self._send))
                self._threads[-1].start()
            self._sent.set()
            self._end.wait(REQUEST_PAUSE_SECONDS)

    def _send(self) -> None:
        sent = time.monotonic()
        status, answer = ask(*self._request, CLIENT_TIMEOUT_SECONDS)
        if status == "200":
            got = self._read(answer)
            status = "no classification" if not got else "right" if same(got, self._expected) else "wrong"
        self.requests.append(Request(sent, time.monotonic(), status))


def wait_until(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a condition, and say which one it was when it does not come."""
    pause = threading.Event()
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        pause.wait(POLL_SECONDS)
