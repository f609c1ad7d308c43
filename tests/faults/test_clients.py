"""Too many clients, slow clients, and recordings that end workers."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

import pytest

from faults.client import Client
from faults.drill import prove
from faults.probe_watch import PROBES, ProbeWatch, Red
from faults.service import Service
from faults.traffic import SHORT, Traffic, differs, distinct, probabilities, trailer
from support.recordings import tone, wav
from support.waiting import wait_until

SONG = wav(tone(440, 60.0), form="FLAC")
"""Much work in few bytes, so that the clients need little time."""
BURST_SECONDS = 4.0


@dataclass
class Load:
    """Clients that send one request after another. After a refusal they wait less than Retry-After says."""

    service: Service
    clients: int
    pause_seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    without_retry_after: int = 0
    first_refusal: float | None = None

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.reference = probabilities(self.service.classify(SONG))
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(self.clients)]

    def run(self, seconds: float) -> float:
        """Send requests for this time; returns the answers with status 200 per second."""
        begun = time.monotonic()
        for thread in self._threads:
            thread.start()
        threading.Event().wait(seconds)
        good = self.statuses["200"]
        rate = good / (time.monotonic() - begun)
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return rate

    def _send(self) -> None:
        client = Client(self.service.address, 120)
        while not self._stop.is_set():
            answer = None
            try:
                answer = client.ask("POST", "/v1/classify?top_k=16", SONG, {"Content-Type": "audio/ogg"})
                kind = f"{answer.status} {answer.problem}".strip()
            except Exception as error:
                kind = type(error).__name__
            with self._lock:
                self.statuses[kind] += 1
                if answer is not None and answer.status == 200:
                    self.wrong += differs(answer, self.reference)
                elif answer is not None and answer.status == 503:
                    self.without_retry_after += "retry-after" not in answer.headers
                    self.first_refusal = self.first_refusal or time.monotonic()
            if kind != "200":
                self._stop.wait(self.pause_seconds)
        client.close()


@pytest.mark.fault("T1")
def test_an_overload_is_refused_early_and_no_worker_restarts(row, start):
    with start(workers=2, max_queue=6) as service:
        capacity = Load(service, clients=4).run(BURST_SECONDS)
        for once in row.repeats(service):
            load = Load(service, clients=48, pause_seconds=48 / (10 * capacity))
            with service.probe_watch(["livez"]) as watch:
                once.begin()
                goodput = load.run(BURST_SECONDS)
            assert watch.readings
            offered = load.statuses.total() / BURST_SECONDS
            prove(lambda offered=offered: offered > 3 * capacity, "the load is far above the capacity")
            once.detected = load.first_refusal - once.since
            once.wrong += load.wrong
            once.within = not watch.reds and not load.without_retry_after
            row.figure("answers a second before the burst", capacity)
            row.figure("requests a second offered in it", offered)
            row.figure("answers a second in it", goodput)
            row.figure("share of the capacity", goodput / capacity)
            row.figure("refused", load.statuses["503 overloaded"])
            assert set(load.statuses) <= {"200", "503 overloaded"}, load.statuses
            assert not load.without_retry_after
            assert not watch.reds, watch.reds
            once.recovered_when()
            assert service.look().body["restarts"]["total"] == 0


@pytest.mark.fault("T2")
def test_slow_clients_are_disconnected_and_others_are_not_affected(row, under_traffic):
    idle, whole = 1.0, 3.0
    with under_traffic(upload_idle_seconds=idle, upload_timeout_seconds=whole) as (service, traffic):
        host, port = service.address.split(":")
        head = f"POST /v1/classify HTTP/1.1\r\nHost: {host}\r\nContent-Type: audio/wav\r\n".encode()
        body = head + f"Content-Length: {len(SHORT)}\r\n\r\n".encode()
        # name: what is sent at once, what follows byte by byte, and the time after which the connection must be closed
        cases = {
            "nothing sent": (b"", b"", idle),
            "headers drip": (head, b"X-Slow: " + b"x" * 1000, idle),
            "body drips": (body, SHORT, whole),
            "half an upload, then silence": (body + SHORT[: len(SHORT) // 2], b"", idle),
        }
        for once in row.repeats(service, traffic):
            closed: dict[str, float] = {}
            kept_open: list[str] = []

            def drip(name: str, closed: dict[str, float] = closed, kept_open: list[str] = kept_open) -> None:
                at_once, slowly, _ = cases[name]
                with socket.create_connection((host, int(port))) as connection:
                    connection.sendall(at_once)
                    begun = time.monotonic()
                    connection.settimeout(0.2)
                    position = 0
                    while time.monotonic() - begun < 20:
                        try:
                            if slowly:
                                connection.sendall(slowly[position : position + 1])
                                position += 1
                            if not connection.recv(65536):
                                break
                        except TimeoutError:
                            continue
                        except OSError:
                            break
                    else:
                        kept_open.append(name)
                    closed[name] = time.monotonic() - begun

            once.begin()
            threads = [threading.Thread(target=drip, args=(name,), daemon=True) for name in cases]
            for thread in threads:
                thread.start()
            wait_until(lambda threads=threads: not any(t.is_alive() for t in threads), "all are closed")
            assert not kept_open, kept_open
            once.detected = max(closed.values())
            late = {name: seconds - cases[name][2] for name, seconds in closed.items()}
            once.within = max(late.values()) <= 1.0
            for name in cases:
                row.figure(f"{name}: seconds until closed", closed[name])
            once.recovered_when()
        assert not traffic.counts()[2]
    row.remark(f"idle timeout here {idle:g} s, upload timeout {whole:g} s; met: closed at most 1 s later")


@pytest.mark.fault("T6")
def test_a_recording_that_ends_two_workers_is_not_tried_again(row, under_traffic):
    with under_traffic() as (service, traffic):
        for once in row.repeats(service, traffic):
            pill = trailer(distinct(1000 + once.number), "exit")
            look = service.look()
            restarts, quarantined = look.body["restarts"]["total"], look.body["quarantined"]
            once.begin()
            statuses = [service.classify(pill).status]
            once.detected_when(
                lambda now, n=quarantined: now.body["quarantined"] == n + 1,
                lambda now: now.metric("ccmusic_worker_restarts_total", reason="crashed") >= 2,
            )
            deaths = service.look().body["restarts"]["total"] - restarts
            statuses += [service.classify(pill).status for _ in range(10)]
            assert statuses == [422] * 11
            assert service.look().body["restarts"]["total"] - restarts == deaths, "it has ended no other worker"
            once.within = deaths <= 2
            once.recovered_when()
    row.remark("the same recording 11 times: 422 each time, it ended two workers in total")


@pytest.mark.fault("T11a")
def test_a_client_whose_files_end_workers_turns_no_probe_false(row, under_traffic):
    kinds = ("segfault", "exit", "hang")
    n_files = 12
    with under_traffic(job_timeout_seconds=1.0) as (service, traffic):
        for once in row.repeats(service, traffic):
            # First from an address of its own, each time another, since it is refused for a while afterwards. Then from
            # the address of the other clients, as behind a proxy. An address that ends more workers than it gets
            # answers is refused, so most of what the proxy sends must be harmless.
            source, n_connections = ((f"127.0.0.{2 + once.number}", 3), ("", 1))[once.number % 2]
            files = iter(range(100 * (once.number + 1), 100 * (once.number + 1) + n_files))
            lock, sent, answers = threading.Lock(), [], Counter()

            def send(source=source, files=files, lock=lock, sent=sent, answers=answers) -> None:
                client = Client(service.address, 120, source)
                while True:
                    with lock:
                        if (number := next(files, None)) is None:
                            break
                        sent.append(number)
                    recording = trailer(distinct(number), kinds[number % len(kinds)])
                    answer = client.ask("POST", "/v1/classify", recording, {"Content-Type": "audio/wav"})
                    with lock:
                        answers[f"{answer.status} {answer.problem}"] += 1
                client.close()

            before = service.look().body["restarts"]["total"]
            codes: set[str] = set()
            with all_probes(service) as watches:
                once.begin()
                threads = [threading.Thread(target=send, daemon=True) for _ in range(n_connections)]
                for thread in threads:
                    thread.start()
                once.detected_when(
                    lambda now, before=before: now.body["restarts"]["total"] >= before + 3,
                    lambda now: now.reports("crash_loop", "warn", r"lost to recordings of \d client"),
                    lambda now: now.measures("crash_loop", "warn"),
                )
                if source:
                    prove(lambda: service.look().metric("ccmusic_suspect_clients") >= 1, "the client is a suspect")

                def over(threads=threads, codes=codes) -> bool:
                    codes.add(service.look().check("crash_loop")[0])
                    return not any(thread.is_alive() for thread in threads)

                wait_until(over, "every file has an answer", 170)
            assert set(answers) <= {
                "422 undecodable-audio",
                "504 inference-timeout",
                "503 overloaded",
                "429 about:blank",
            }, answers
            assert "fail" not in codes
            assert not reds_of(watches), reds_of(watches)
            once.within = True
            row.figure("restarts by its files", service.look().body["restarts"]["total"] - before)
            once.recovered_when()
        assert not traffic.counts()[2], traffic.counts()[2]
    row.remark(
        f"{n_files} files, {', '.join(kinds)} in turn, on 3 connections from an address of its own, or on one from the "
        "address of the others; every probe at both ports: 200"
    )


@pytest.mark.fault("T11b")
def test_workers_that_end_on_known_recordings_are_a_crash_loop(row, start):
    with start(workers=1) as service:
        reference = probabilities(service.classify(SHORT))
        for once in row.repeats(service):
            before = service.look().body["restarts"]["total"]
            reported: list[int] = []
            once.begin()
            for _ in range(3):
                seen = service.look().body["restarts"]["total"]
                service.inject("segfault-next", worker=0)
                answer = service.classify_later(SHORT)

                def over(before=before, seen=seen, reported=reported, answer=answer) -> bool:
                    now = service.look()
                    if now.unready(r"crash_loop: \S"):
                        reported.append(now.body["restarts"]["total"] - before)
                    return now.body["restarts"]["total"] > seen and answer.done()

                wait_until(over, "the worker has ended, and the next one has answered")
                assert not differs(answer.result(), reference)
            once.detected_now()
            assert reported
            once.within = reported[0] <= 3
            row.figure("restarts until it is reported", reported[0])
            assert service.look().measures("crash_loop", "warn")
            once.recovered_when()
    row.remark("one worker, which a fault ends three times on the same recording; a successor answers it each time")


DESCRIPTORS = 256
ALL_PROBES = (*PROBES, "startupz")
WHOLE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
HEAD = b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: audio/ogg\r\nContent-Le"
BODY = b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: audio/ogg\r\nContent-Length: 1000\r\n\r\nOggS"


@contextmanager
def all_probes(service: Service) -> Iterator[dict[str, ProbeWatch]]:
    """Reads each probe at both ports all the time, over a new connection each time, as a kubelet does."""
    with ExitStack() as stack:
        yield {
            port: stack.enter_context(service.probe_watch(ALL_PROBES, new_connections=True, side=side))
            for port, side in (("main", False), ("management", True))
        }


def reds_of(watches: dict[str, ProbeWatch]) -> list[Red]:
    return [red for watch in watches.values() for red in watch.reds]


@contextmanager
def flood(service: Service, count: int, data: bytes) -> Iterator[None]:
    """So many connections of a client that sends this on each, and then nothing more."""
    host, port = service.address.split(":")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2 * count + 1000)), hard))
    opened = []
    try:
        for _ in range(count):
            connection = socket.socket()
            opened.append(connection)
            connection.setblocking(False)
            with suppress(BlockingIOError):
                connection.connect((host, int(port)))
        for connection in opened:
            connection.settimeout(1.0)
            with suppress(OSError):  # closed by the service to make room
                connection.sendall(data)
        yield
    finally:
        for connection in opened:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def probes_answer_during(row, start, floods: tuple[tuple[int, bytes], ...]) -> None:
    """Prove that every probe answers with 200 while a client holds more connections than there are descriptors."""
    limited = ("prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}")
    with start(wrapper=limited) as service, Traffic(service) as traffic:
        soft = resource.prlimit(service.pid, resource.RLIMIT_NOFILE)[0]
        assert soft == DESCRIPTORS
        # their connections are in regular use then
        prove(lambda: traffic.counts()[0] >= 10, "the other clients have had answers")
        for once in row.repeats(service, traffic):
            count, data = floods[once.number % len(floods)]
            closed = service.look().metric("ccmusic_connections_closed_for_room_total")
            with all_probes(service) as watches:
                once.begin()
                with flood(service, count, data):
                    once.detected_when(
                        lambda now, n=closed: now.metric("ccmusic_connections_closed_for_room_total") > n
                    )
                    for watch in watches.values():
                        watch.read_on()
                    assert service.classify(SHORT).status == 200
            assert not reds_of(watches), reds_of(watches)
            for port, watch in watches.items():
                row.figure(f"{port} port: longest answer of a probe in seconds", watch.longest_seconds)
            once.within = max(watch.longest_seconds for watch in watches.values()) <= 1.0
            once.recovered_when()
            assert service.look().body["restarts"]["total"] == 0
    row.remark(f"each probe at both ports, over a new connection each time: 200; limit {DESCRIPTORS} descriptors")


@pytest.mark.fault("T12a")
def test_idle_connections_do_not_keep_probes_out(row, start):
    probes_answer_during(row, start, ((300, WHOLE),))


@pytest.mark.fault("T12b")
def test_half_sent_requests_do_not_keep_probes_out(row, start):
    probes_answer_during(row, start, ((2000, HEAD), (2000, BODY), (2000, b"")))
    row.remark("half a head, half a body and nothing sent in turn")
