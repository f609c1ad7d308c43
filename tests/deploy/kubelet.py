"""Plays the kubelet: reads the probes out of a Deployment and applies them to a real process by the kubelet's rules.

What it takes from the kubelet (pkg/kubelet/prober/worker.go, kuberuntime_manager.go, kuberuntime_container.go):

* one ticker for each probe, which begins with the pod and not with the container; late ticks come at once, as one;
* a fresh connection for each question, 200 to 399 is a success, no answer within the timeout is a failure;
* before any result a container counts as alive, not started and not ready;
* nothing but the startup probe is asked until that has succeeded; then readiness is asked at once;
* a failure counts after `failureThreshold` in a row, and probing then rests until there is a new container;
* a restart is preStop, SIGTERM, what is left of the grace (2 s at least), SIGKILL, and a new process; the grace is the
  probe's own where it has one. The first restart comes at once, later ones wait for 10 s, 20 s, ... 300 s;
* a pod that is to be deleted leaves the endpoints at once, is no longer probed for liveness, and gets the pod's grace.

Ports are replaced by those that the process was given. Images, nodes and the network between them are not played.
"""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

MIN_GRACE_SECONDS = 2.0
FIRST_BACKOFF_SECONDS = 10.0
MAX_BACKOFF_SECONDS = 300.0
KINDS = ("startup", "liveness", "readiness")
INITIAL = {"startup": None, "liveness": True, "readiness": False}
_SLEEP = re.compile(r"sleep\((\d+(?:\.\d+)?)\)")


@dataclass(frozen=True)
class Probe:
    """An HTTP probe; what the manifest leaves out is Kubernetes' default."""

    path: str
    port: int
    initial_delay_seconds: float = 0.0
    period_seconds: float = 10.0
    timeout_seconds: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3
    grace_seconds: float | None = None

    @property
    def silent_seconds(self) -> float:
        """Longest time from the last moment of health to the verdict, where nothing answers any more."""
        return self.period_seconds * self.failure_threshold + self.timeout_seconds

    @property
    def red_seconds(self) -> float:
        """The same where the answer is a failure, and comes at once."""
        return self.period_seconds * self.failure_threshold

    def faster(self, factor: float) -> Probe:
        """The same probe in a time that runs faster; a timeout stays long enough for a busy machine."""
        return replace(
            self,
            initial_delay_seconds=self.initial_delay_seconds * factor,
            period_seconds=self.period_seconds * factor,
            timeout_seconds=min(self.timeout_seconds, max(1.0, self.timeout_seconds * factor)),
            grace_seconds=None if self.grace_seconds is None else self.grace_seconds * factor,
        )


@dataclass(frozen=True)
class Container:
    """What the kubelet does with a container: probes, preStop, grace."""

    probes: Mapping[str, Probe]
    pre_stop: tuple[str, ...]
    pre_stop_seconds: float
    grace_seconds: float
    min_grace_seconds: float = MIN_GRACE_SECONDS
    backoff_seconds: float = FIRST_BACKOFF_SECONDS

    def faster(self, factor: float) -> Container:
        """The same container in a time that runs faster."""
        return replace(
            self,
            probes={kind: probe.faster(factor) for kind, probe in self.probes.items()},
            pre_stop=tuple(_SLEEP.sub(lambda m: f"sleep({float(m[1]) * factor})", word) for word in self.pre_stop),
            pre_stop_seconds=self.pre_stop_seconds * factor,
            grace_seconds=self.grace_seconds * factor,
            min_grace_seconds=self.min_grace_seconds * factor,
            backoff_seconds=self.backoff_seconds * factor,
        )

    def grace_after(self, kind: str | None) -> float:
        """Grace when a probe of this kind has failed; of the pod's own end for None."""
        probe = self.probes.get(kind or "")
        own = None if probe is None else probe.grace_seconds
        return self.grace_seconds if own is None else own


def read_container(deployment: Mapping[str, Any], name: str = "ccmusic") -> Container:
    """Probes, preStop and grace of one container of a Deployment (or Rollout) as parsed from YAML."""
    pod = deployment["spec"]["template"]["spec"]
    container = next(found for found in pod["containers"] if found["name"] == name)
    ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
    probes = {kind: _probe(container[f"{kind}Probe"], ports) for kind in KINDS if container.get(f"{kind}Probe")}
    hook = (container.get("lifecycle") or {}).get("preStop") or {}
    command = tuple((hook.get("exec") or {}).get("command", ()))
    seconds = [float(found) for word in command for found in _SLEEP.findall(word)]
    if "sleep" in hook:
        seconds = [float(hook["sleep"]["seconds"])]
    return Container(probes, command, sum(seconds), float(pod.get("terminationGracePeriodSeconds", 30)))


def _probe(written: Mapping[str, Any], ports: Mapping[str, int]) -> Probe:
    http_get = written["httpGet"]
    names = {
        "initialDelaySeconds": "initial_delay_seconds",
        "periodSeconds": "period_seconds",
        "timeoutSeconds": "timeout_seconds",
        "successThreshold": "success_threshold",
        "failureThreshold": "failure_threshold",
        "terminationGracePeriodSeconds": "grace_seconds",
    }
    port = http_get["port"]
    given = {ours: written[theirs] for theirs, ours in names.items() if written.get(theirs) is not None}
    return Probe(http_get["path"], ports.get(port, port), **given)


def read_deployment(*paths: Path) -> dict[str, Any]:
    """A Deployment from its file, its containers' fields replaced by those of further files (null: taken away)."""
    deployment, *patches = (yaml.safe_load(path.read_text()) for path in paths)
    for patch in patches:
        found = {c["name"]: c for c in deployment["spec"]["template"]["spec"]["containers"]}
        for changed in patch["spec"]["template"]["spec"]["containers"]:
            found[changed["name"]].update(changed)
    return deployment


# what happened


@dataclass(frozen=True)
class Event:
    """Something that the kubelet did or saw."""

    at: float
    pod: str
    what: str
    detail: str = ""


class Timeline:
    """Every event, with its time on the monotonic clock."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self._events: list[Event] = []

    def note(self, pod: str, what: str, detail: str = "") -> None:
        """Add one, as of now."""
        self._events.append(Event(time.monotonic(), pod, what, detail))

    def of(self, pod: str, what: str, since: float = 0.0) -> list[Event]:
        """A pod's events of one sort."""
        return [e for e in list(self._events) if e.pod == pod and e.what == what and e.at >= since]

    def __str__(self) -> str:
        return "\n".join(f"{e.at - self.began:8.2f} s  {e.pod}: {e.what} {e.detail}" for e in list(self._events))


class Endpoints:
    """The addresses behind a Service, as clients see them: with a delay.

    Parameters
    ----------
    delay_seconds : float
        From a change to the moment when senders act by it (endpoint slices, kube-proxy or ingress).
    """

    def __init__(self, delay_seconds: float) -> None:
        self.delay_seconds = delay_seconds
        self._lock = threading.Lock()
        self._changes: list[tuple[float, str, bool]] = []

    def change(self, address: str, present: bool) -> None:
        """Note that an address comes or goes."""
        with self._lock:
            self._changes.append((time.monotonic() + self.delay_seconds, address, present))

    def known(self) -> list[str]:
        """The addresses, as senders know them now."""
        now = time.monotonic()
        with self._lock:
            state = {address: present for at, address, present in self._changes if at <= now}
        return [address for address, present in state.items() if present]


# what is done


@dataclass
class _Life:
    """One process of the container."""

    process: subprocess.Popen[bytes]
    started_at: float
    started: bool
    failed: str | None = None
    wake: threading.Event = field(default_factory=threading.Event)


class Pod:
    """One pod with one container, kept by threads as the kubelet keeps it.

    Parameters
    ----------
    name : str
    container : Container
    start : callable
        Starts the process, in a session of its own so that all of it can be killed.
    ports : mapping
        The port that stands in for each port of the manifest, on 127.0.0.1.
    timeline : Timeline
    endpoints : Endpoints, optional
    phase : float
        Share of a period by which the probes' tickers are ahead of the container's start, 0 to 1.
    """

    def __init__(
        self,
        name: str,
        container: Container,
        start: Callable[[], subprocess.Popen[bytes]],
        ports: Mapping[int, int],
        timeline: Timeline,
        endpoints: Endpoints | None = None,
        phase: float = 0.0,
    ) -> None:
        self.name = name
        self.container = container
        self.ports = ports
        self.restarts = 0
        self.ready = False
        self._start_process = start
        self._timeline = timeline
        self._endpoints = endpoints
        self._life: _Life | None = None
        self._deleted = threading.Event()
        self._over = threading.Event()
        self._readiness_wanted = threading.Event()
        began = time.monotonic()
        self._threads = [threading.Thread(target=self._keep, name=f"{name}-kubelet", daemon=True)]
        for kind, probe in container.probes.items():
            first_tick = began + (1.0 - phase) * probe.period_seconds
            arguments = (kind, probe, first_tick)
            self._threads.append(threading.Thread(target=self._ask_again_and_again, args=arguments, daemon=True))
        for thread in self._threads:
            thread.start()

    @property
    def address(self) -> str:
        """Host and port of the service."""
        return f"127.0.0.1:{self.ports[7860]}"

    @property
    def pid(self) -> int:
        """The container's main process."""
        life = self._life
        assert life is not None
        return life.process.pid

    def delete(self) -> None:
        """What `kubectl delete pod` does; returns at once."""
        self._timeline.note(self.name, "deleted")
        self._set_ready(False)
        self._deleted.set()
        if (life := self._life) is not None:
            life.wake.set()

    def join(self, timeout_seconds: float) -> None:
        """Wait until the pod has ended."""
        self._threads[0].join(timeout_seconds)
        assert not self._threads[0].is_alive(), f"{self.name} does not end\n{self._timeline}"

    def abandon(self) -> None:
        """End it by force, without the kubelet's manners."""
        self._over.set()
        self._deleted.set()
        if (life := self._life) is not None:
            _kill_all(life.process)
        self.join(30)
        for thread in self._threads[1:]:
            thread.join(30)

    # the container

    def _keep(self) -> None:
        backoff, begun_at = 0.0, time.monotonic()
        while not self._deleted.is_set():
            life = self._begin()
            self._watch(life)
            code = life.process.returncode
            self._timeline.note(self.name, "ended", f"exit code {code}")
            self._set_ready(False)
            if self._deleted.is_set():
                break
            self.restarts += 1
            ended_at = time.monotonic()
            if ended_at - begun_at > 2 * MAX_BACKOFF_SECONDS:
                backoff = 0.0
            if backoff:
                self._timeline.note(self.name, "backs off", f"{backoff:g} s")
            self._deleted.wait(backoff)
            backoff = min(2 * backoff or self.container.backoff_seconds, MAX_BACKOFF_SECONDS)
            begun_at = time.monotonic()
        self._over.set()
        self._timeline.note(self.name, "gone")

    def _begin(self) -> _Life:
        process = self._start_process()
        life = _Life(process, time.monotonic(), started="startup" not in self.container.probes)
        self._life = life
        threading.Thread(target=lambda: (process.wait(), life.wake.set()), daemon=True).start()
        self._timeline.note(self.name, "started", f"process {process.pid}")
        return life

    def _watch(self, life: _Life) -> None:
        """Return once this process has ended, by itself or by us."""
        life.wake.wait()
        if life.process.poll() is None and not self._over.is_set():
            self._stop(life, self.container.grace_after(life.failed))
        _kill_all(life.process)

    def _stop(self, life: _Life, grace_seconds: float) -> None:
        deadline = time.monotonic() + grace_seconds
        self._timeline.note(self.name, "stopping", f"because of {life.failed or 'deletion'}, grace {grace_seconds:g} s")
        if self.container.pre_stop:
            self._run_pre_stop(grace_seconds)
        elif self.container.pre_stop_seconds:
            self._over.wait(min(self.container.pre_stop_seconds, grace_seconds))
        with suppress(ProcessLookupError):
            life.process.send_signal(signal.SIGTERM)
        self._timeline.note(self.name, "sigterm")
        try:
            life.process.wait(max(self.container.min_grace_seconds, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._timeline.note(self.name, "sigkill")

    def _run_pre_stop(self, timeout_seconds: float) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # `python` is in the image's path
        with suppress(subprocess.TimeoutExpired):
            done = subprocess.run(
                self.container.pre_stop, check=False, timeout=timeout_seconds, env=os.environ | {"PATH": path}
            )
            self._timeline.note(self.name, "pre_stop", f"exit code {done.returncode}")

    # the probes

    def _ask_again_and_again(self, kind: str, probe: Probe, next_tick: float) -> None:
        """The loop of a probe's worker."""
        run, last, of, on_hold = 0, INITIAL[kind], None, False
        while not self._over.is_set():
            life = self._life
            if life is not of:
                of, on_hold, run, last = life, False, 0, INITIAL[kind]
            if life is not None and not on_hold and self._to_be_asked(kind, probe, life):
                success, why = ask(self.ports[probe.port], probe)
                run = run + 1 if success == last else 1
                last = success
                if not success:
                    self._timeline.note(self.name, f"{kind} failure", why)
                if life is self._life and run >= (probe.success_threshold if success else probe.failure_threshold):
                    on_hold = self._conclude(kind, success, life)
            next_tick = self._wait_for_tick(kind, next_tick, probe.period_seconds)

    def _wait_for_tick(self, kind: str, next_tick: float, period_seconds: float) -> float:
        wanted = self._readiness_wanted if kind == "readiness" else self._over
        if wanted.wait(max(0.0, next_tick - time.monotonic())) and kind == "readiness":
            wanted.clear()
            return next_tick
        late = max(0.0, time.monotonic() - next_tick)
        return next_tick + (1 + late // period_seconds) * period_seconds

    def _to_be_asked(self, kind: str, probe: Probe, life: _Life) -> bool:
        if life.process.poll() is not None or (self._deleted.is_set() and kind != "readiness"):
            return False
        if time.monotonic() - life.started_at < probe.initial_delay_seconds:
            return False
        return life.started == (kind != "startup")

    def _conclude(self, kind: str, success: bool, life: _Life) -> bool:
        """Act by a verdict; whether the probe now rests until there is a new container."""
        match kind:
            case "readiness":
                if not self._deleted.is_set():
                    self._set_ready(success)
                return False
            case "startup" if success:
                life.started = True
                self._timeline.note(self.name, "startup succeeded")
                self._readiness_wanted.set()
                return True
            case _ if not success:
                self._timeline.note(self.name, f"{kind} failed")
                life.failed = kind
                life.wake.set()
                return True
        return False

    def _set_ready(self, ready: bool) -> None:
        if ready == self.ready:
            return
        self.ready = ready
        self._timeline.note(self.name, "ready" if ready else "not ready")
        if self._endpoints is not None:
            self._endpoints.change(self.address, ready)


def ask(port: int, probe: Probe) -> tuple[bool, str]:
    """One question as the kubelet asks it: whether it is a success, and what came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=probe.timeout_seconds)
    try:
        connection.request("GET", probe.path, headers={"User-Agent": "kube-probe/1.32", "Connection": "close"})
        response = connection.getresponse()
        body = response.read(300)
    except (OSError, http.client.HTTPException) as error:
        return False, f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    return 200 <= response.status < 400, f"{response.status} {body.decode(errors='replace')}"


def _kill_all(process: subprocess.Popen[bytes]) -> None:
    """What the kernel does with every process of a container when its first one ends."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
