"""The shipped probes against the real service, the kubelet played by `kubelet`: what is restarted, when, and what not.

CCMUSIC_TEST_PRODUCTION_TIMES=1 runs everything at the manifest's own times and writes docs/kubelet.md; else time runs
five times as fast and every case is tried once.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from deploy.kubelet import Endpoints, Pod, Timeline, read_container, read_deployment
from deploy.kubelet_report import Report
from support.bands_model import write_model
from support.memory_group import memory_group
from support.ports import free_port
from support.recordings import tone, wav
from support.waiting import wait_until

PRODUCTION_TIMES = os.environ.get("CCMUSIC_TEST_PRODUCTION_TIMES") == "1"
FACTOR = 1.0 if PRODUCTION_TIMES else 0.2

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "deploy" / "kubernetes"
OURS = read_container(read_deployment(MANIFESTS / "base/deployment.yaml")).faster(FACTOR)
SINGLE = read_container(
    read_deployment(MANIFESTS / "base/deployment.yaml", MANIFESTS / "single-probe/deployment.yaml")
).faster(FACTOR)
SETTINGS = dict(
    line.split("=", 1)
    for line in (MANIFESTS / "base/settings.env").read_text().splitlines()
    if line.startswith("CCMUSIC_")
)
TOKEN = "kubelet"
LOOP_IS_KNOWN_SECONDS = 3.0
"""Bound of row P7 of the fault matrix: a blocked HTTP loop until /livez says so."""
MACHINE_SECONDS = 2.0 if PRODUCTION_TIMES else 20.0
"""What a busy machine of two cores may add to what is computed; among other tests it is busier than for the record."""
PROPAGATION_SECONDS = 2.0
"""From a change of the endpoints until the last sender acts by it."""
CLIP = wav(tone(440, 1.0))


@pytest.fixture(scope="module")
def report(request) -> Iterator[Report]:
    kept = Report(FACTOR)
    yield kept
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("", *kept.table(), sep="\n")
    if PRODUCTION_TIMES and kept.complete(request.session):
        (ROOT / "docs" / "kubelet.md").write_text(kept.page(), encoding="utf-8")


class Cluster:
    """The pods of one test, and where their processes leave what they say."""

    def __init__(self, directory: Path) -> None:
        self.timeline = Timeline()
        self._directory = directory
        self._stack = ExitStack()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        print(self.timeline)  # shown where the test failed
        for log in self._directory.glob("*.log"):
            print(f"--- {log.name}\n{log.read_text()[-2000:]}")

    def pod(self, name, container, *, wrapper=(), command=("-m", "ccmusic.cli"), endpoints=None, phase=0.0, **settings):
        """A pod with the shipped settings, one worker and its doors for faults open."""
        ports = dict(zip((7860, 7862), _free_ports(2), strict=True))
        # not in pytest's directory: the path of a socket in it must not be longer than 107 characters
        temporary = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="pod-", ignore_cleanup_errors=True))
        log = self._stack.enter_context((self._directory / f"{name}.log").open("ab"))
        chosen = SETTINGS | {
            "CCMUSIC_HOST": "127.0.0.1",
            "CCMUSIC_PORT": str(ports[7860]),
            "CCMUSIC_MANAGEMENT_HOST": "127.0.0.1",
            "CCMUSIC_MANAGEMENT_PORT": str(ports[7862]),
            "CCMUSIC_WORKERS": "1",
            "CCMUSIC_PAGE": "false",
            "CCMUSIC_FAULT_INJECTION": "true",
            "CCMUSIC_ADMIN_TOKEN": TOKEN,
            "TMPDIR": temporary,
            "PYTHONPATH": str(Path(__file__).parent),
        }
        environment = os.environ | chosen | settings

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                [*wrapper, sys.executable, *command, "serve"],
                stdout=log,
                stderr=log,
                cwd=self._directory,
                env=environment,
                start_new_session=True,
            )

        pod = Pod(name, container, start, ports, self.timeline, endpoints, phase)
        self._stack.callback(pod.abandon)
        return pod

    def wait_ready(self, *pods: Pod, timeout_seconds: float = 120) -> None:
        wait_until(lambda: all(pod.ready for pod in pods), f"{[p.name for p in pods]} ready", timeout_seconds)

    def wait_probed(self, *pods: Pod) -> None:
        """Return once the delay before the first question about life is over."""
        for pod in pods:
            due = self.first(pod, "started") + pod.container.probes["liveness"].initial_delay_seconds
            wait_until(lambda due=due: time.monotonic() > due, f"{pod.name} is probed")

    def first(self, pod: Pod, what: str, since: float = 0.0, timeout_seconds: float = 180) -> float:
        """When something first happened to a pod; waits for it."""
        wait_until(lambda: bool(self.timeline.of(pod.name, what, since)), f"{pod.name}: {what}", timeout_seconds)
        return self.timeline.of(pod.name, what, since)[0].at


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as started:
        yield started


def _free_ports(count: int) -> list[int]:
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return list(found)


def _seconds(value: float) -> float:
    """A time of the world outside in the time of this run."""
    return value * FACTOR


def _inject(pod: Pod, fault: str, **query: float) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = httpx.post(f"http://{pod.address}/debug/faults/{fault}", params=query, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text


# (a)


def test_a_slow_load_is_waited_for(cluster, report):
    """The shipped probes wait for any of them; the single probe survives 30 s and not 70."""

    def pod(probes: str, seconds: float) -> Pod:
        command = (str(Path(__file__).parent / "slow_loading.py"),)
        load = {"CCMUSIC_TEST_LOAD_SECONDS": str(_seconds(seconds))}
        container = {"ours": OURS, "single": SINGLE}[probes]
        return cluster.pod(f"{probes}-{seconds}", container, command=command, **load)

    loops = pod("single", 70)
    # where time runs faster, what the start takes besides the load does not: there the single probe would not survive
    waited = [(30, "the three probes", pod("ours", 30))]
    if PRODUCTION_TIMES:
        waited += [(30, "the single probe", pod("single", 30)), (70, "the three probes", pod("ours", 70))]
    for load_seconds, probes, waiting in waited:
        seconds = cluster.first(waiting, "ready") - cluster.first(waiting, "started")
        assert seconds >= _seconds(load_seconds), "the load was not slow"
        n_failures = len(cluster.timeline.of(waiting.name, "liveness failure"))
        remark = f"{n_failures} failed liveness probes, {waiting.restarts} restarts"
        report.add(f"load takes {load_seconds} s", probes, "ready", None, [seconds], remark)
    given_up = cluster.first(loops, "liveness failed") - cluster.first(loops, "started")
    bound = SINGLE.probes["liveness"].initial_delay_seconds + SINGLE.probes["liveness"].silent_seconds
    remark = "each restart starts the load again, endlessly"
    report.add("load takes 70 s", "the single probe", "fails while it loads", bound, [given_up], remark)
    assert given_up <= bound + MACHINE_SECONDS
    assert not any(waiting.restarts for _, _, waiting in waited)


# (b)


@pytest.mark.parametrize("fault", ["stopped", "blocked"])
def test_a_hung_service_is_restarted_within_the_computed_time(cluster, report, fault):
    n = 3 if PRODUCTION_TIMES else 1
    ours = [cluster.pod(f"ours-{index}", OURS, phase=index / n) for index in range(n)]
    # on the main port a blocked loop is silence too: once is enough for the slow one
    single = [cluster.pod("single", SINGLE)] if PRODUCTION_TIMES and fault == "stopped" else []
    cluster.wait_ready(*ours, *single)
    cluster.wait_probed(*single)
    began = {}
    for pod in (*ours, *single):
        began[pod] = time.monotonic()
        if fault == "stopped":
            os.kill(pod.pid, signal.SIGSTOP)
        else:
            _inject(pod, "block-loop", size=600)
    words = {"stopped": "front process stopped (SIGSTOP)", "blocked": "HTTP loop blocked"}[fault]
    for pods, container, name in ((ours, OURS, "the three probes"), (single, SINGLE, "the single probe")):
        if not pods:
            continue
        probe = container.probes["liveness"]
        given_up = probe.silent_seconds if fault == "stopped" else probe.red_seconds + LOOP_IS_KNOWN_SECONDS
        restarted = given_up + container.grace_after("liveness")
        times = [[cluster.first(pod, what, began[pod]) - began[pod] for pod in pods]
                 for what in ("liveness failed", "started", "ready")]  # fmt: skip
        if name != "the three probes":
            times[2] = []
        report.add(words, name, "fails", given_up, times[0])
        remark = (
            ""
            if name == "the three probes"
            else f"the grace period of the pod is {container.grace_seconds:g} s here; 30 s by default"
        )
        report.add(words, name, "restarted", restarted, times[1], remark)
        report.add(words, name, "ready again", None, times[2])
        assert max(times[0]) <= given_up + MACHINE_SECONDS, cluster.timeline
        assert max(times[1]) <= restarted + MACHINE_SECONDS, cluster.timeline
        assert all(pod.restarts == 1 for pod in pods)


# (c)


@pytest.mark.parametrize("kills", ["one process", "the container"])
def test_out_of_memory(cluster, report, kills):
    if shutil.which("sh") is None:
        pytest.skip("no shell to enter the control group with")
    megabyte = 2**20
    with memory_group("ccmusic-kubelet") as group, cluster:
        pod = cluster.pod("ours", OURS, wrapper=group.entering)
        cluster.wait_ready(pod)
        group.limit_bytes = group.usage_bytes + 200 * megabyte
        _inject(pod, "leak", size=150)
        outcomes: list[str] = []
        over = threading.Event()

        def send() -> None:
            while not over.is_set():
                outcomes.append(_classify(httpx.post, pod.address))

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        wait_until(lambda: group.n_killed > 0, "the kernel kills it because memory is short")
        killed_at = time.monotonic()
        if kills == "the container":  # as the kernel does where the kubelet sets memory.oom.group
            for pid in group.processes:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            cluster.first(pod, "started", killed_at)
        else:
            httpx.delete(f"http://{pod.address}/debug/faults", headers={"Authorization": f"Bearer {TOKEN}"})
        wait_until(lambda: _health(pod) == 200, "healthy again")
        seconds = time.monotonic() - killed_at
        over.set()
        sender.join()
        report.add(
            f"out of memory: the kernel kills {kills}",
            "the three probes",
            "healthy again",
            None,
            [seconds],
            f"{pod.restarts} restarts by the kubelet; a client of this pod only: {_counted(outcomes)}",
        )
        assert pod.restarts == (1 if kills == "the container" else 0), cluster.timeline
        assert not cluster.timeline.of(pod.name, "liveness failed")


def _counted(outcomes: list[str]) -> str:
    return ", ".join(f"{count} x {outcome}" for outcome, count in Counter(outcomes).items())


def _health(pod: Pod) -> int:
    try:
        return httpx.get(f"http://{pod.address}/health", timeout=10).status_code
    except httpx.HTTPError:
        return 0


def _classify(post, address: str) -> str:
    headers = {"Content-Type": "audio/wav"}
    try:
        return str(post(f"http://{address}/v1/classify", content=CLIP, headers=headers, timeout=60).status_code)
    except httpx.HTTPError as error:
        return type(error).__name__


# (d)


class RoundRobin:
    """Clients that send one request after the other, to each known endpoint in turn.

    Every other one keeps its connections, as an ingress controller does.
    """

    def __init__(self, endpoints: Endpoints, n_clients: int) -> None:
        self._endpoints = endpoints
        self._stop = threading.Event()
        self.outcomes: list[tuple[float, str, str]] = []
        self._threads = [threading.Thread(target=self._send, args=(n % 2 == 0,), daemon=True) for n in range(n_clients)]

    def __enter__(self) -> RoundRobin:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self, kept: bool) -> None:
        turn = 0
        with httpx.Client() as client:
            while not self._stop.is_set():
                known = self._endpoints.known()
                if not known:
                    self.outcomes.append((time.monotonic(), "nobody", "no endpoint"))
                    self._stop.wait(0.01)
                    continue
                turn += 1
                address = known[turn % len(known)]
                outcome = _classify(client.post if kept else httpx.post, address)
                self.outcomes.append((time.monotonic(), address, outcome))


def _rolling_update(cluster, container, n_replicas: int) -> tuple[Counter[str], list[float]]:
    """Replace pods under traffic, a new one before an old one goes; every outcome, and how long each old one took."""
    settings = {"CCMUSIC_DRAIN_LINGER_SECONDS": str(FACTOR * float(SETTINGS["CCMUSIC_DRAIN_LINGER_SECONDS"]))}
    endpoints = Endpoints(_seconds(PROPAGATION_SECONDS))
    old = [cluster.pod(f"old-{n}", container, endpoints=endpoints, **settings) for n in range(2)]
    cluster.wait_ready(*old)
    wait_until(lambda: len(endpoints.known()) == 2, "both are known")
    ends = []
    with RoundRobin(endpoints, n_clients=4) as clients:
        for n, pod in enumerate(old[:n_replicas]):
            new = cluster.pod(f"new-{n}", container, endpoints=endpoints, phase=0.5, **settings)
            cluster.wait_ready(new)  # maxSurge 1, maxUnavailable 0
            began = time.monotonic()
            pod.delete()
            pod.join(120)
            ends.append(time.monotonic() - began)
            assert [event.detail for event in cluster.timeline.of(pod.name, "ended")] == ["exit code 0"]
            assert any(who == pod.address and at > began for at, who, _ in clients.outcomes), "it was asked to its end"
        n_before = len(clients.outcomes)
        wait_until(lambda: len(clients.outcomes) > n_before + 20, "the new ones answer")
    return Counter(outcome for _, _, outcome in clients.outcomes), ends


def test_a_rolling_update_loses_no_request(cluster, report):
    counts, ends = _rolling_update(cluster, OURS, 2 if PRODUCTION_TIMES else 1)
    remark = f"{counts.total()} requests, {counts.total() - counts['200']} of them lost"
    report.add(
        "rolling update under traffic, 2 replicas", "the three probes", "end of a pod", OURS.grace_seconds, ends, remark
    )
    assert set(counts) == {"200"}, counts


@pytest.mark.skipif(not PRODUCTION_TIMES, reason="in production's times only")
def test_without_pre_stop_requests_are_lost(cluster, report):
    """What would not be seen here could not be told from what does not happen."""
    counts, ends = _rolling_update(cluster, replace(OURS, pre_stop=(), pre_stop_seconds=0.0), 1)
    lost = counts.total() - counts["200"]
    remark = f"{counts.total()} requests, {lost} of them lost: the reason for preStop"
    report.add(
        "the same with one pod, without preStop", "the three probes", "end of a pod", OURS.grace_seconds, ends, remark
    )
    assert lost


# (e)


def test_a_deleted_model_file_restarts_nothing(cluster, report, tmp_path):
    container = {"ours": OURS, "single": SINGLE}
    models = {name: write_model(tmp_path / "models" / name) for name in container}
    pods = {n: cluster.pod(n, container[n], CCMUSIC_MODEL=str(models[n])) for n in container}
    cluster.wait_ready(*pods.values())
    cluster.wait_probed(pods["single"])
    began = time.monotonic()
    for model in models.values():
        (model / "model.onnx").unlink()
    ours, single = pods["ours"], pods["single"]
    wait_until(lambda: _health(ours) == 503, "/health is red")
    red = time.monotonic() - began
    bound = SINGLE.probes["liveness"].silent_seconds
    given_up = cluster.first(single, "liveness failed", began) - began
    restarted = cluster.first(single, "started", began) - began
    wait_until(
        lambda: time.monotonic() - began > 2 * OURS.probes["liveness"].silent_seconds, "twice our budget is over"
    )
    watched = time.monotonic() - began
    answers = [_classify(httpx.post, ours.address) for _ in range(5)]
    words = "model file deleted"
    report.add(words, "the three probes", "/health fails", None, [red])
    report.add(
        words,
        "the three probes",
        "observed: no restart, ready, correct answers",
        None,
        [watched],
        f"{ours.restarts} restarts",
    )
    report.add(words, "the single probe", "fails", bound, [given_up])
    report.add(words, "the single probe", "restarted, then never ready", None, [restarted], "the loaded model is lost")
    assert ours.restarts == 0
    assert ours.ready
    assert answers == ["200"] * 5
    assert _health(ours) == 503
    assert single.restarts >= 1
    assert _classify(httpx.post, single.address) != "200"
