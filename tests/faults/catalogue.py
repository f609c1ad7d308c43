"""The faults: what each is, and how soon it must be noticed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Entry:
    """A row of the catalogue.

    Attributes
    ----------
    bound_seconds : float or None
        Longest time from the fault until the probes and the metrics show it; None if the bound is not a time.
    bound : str
        The bound as text; by default made from the seconds.
    slow : bool
        One repeat takes more than a few seconds, so there are fewer repeats.
    reds : frozenset of str
        The probes that the fault may turn red until it is over; any other red is false.
    restarts : mapping
        The most restarts by reason that the fault explains in one repeat; any other restart is false. A load is tried
        again until its files are back, so a drill that leaves them wrong explains several.
    """

    fault: str
    bound_seconds: float | None = None
    bound: str = ""
    slow: bool = False
    reds: frozenset[str] = frozenset()
    restarts: Mapping[str, int] = field(default_factory=dict)

    @property
    def bound_text(self) -> str:
        return self.bound or f"{self.bound_seconds:g} s"


HEALTH = frozenset({"health"})
NOT_READY = frozenset({"health", "readyz"})

CATALOGUE: dict[str, Entry] = {
    "P1": Entry("busy worker killed (kill -9)", 0.2, restarts={"killed": 1}),
    "P2": Entry("worker ended by SIGSEGV on an input", 0.2, reds=NOT_READY, restarts={"crashed": 2}),
    "P3": Entry("two workers killed at once", 0.2, reds=NOT_READY, restarts={"killed": 2}),
    "P4": Entry("worker frozen (kill -STOP)", 1.5, restarts={"heartbeat": 1}),
    "P5": Entry("interpreter lock held in native code", 1.5, restarts={"heartbeat": 1}),
    "P6": Entry("100th job never ends, lock free", bound="deadline + 0.3 s", restarts={"deadline": 1}),
    "P7": Entry("HTTP loop blocked", 3.0, slow=True, reds=frozenset({"health", "livez"})),
    "P8": Entry(
        "every worker waits for a lock forever",
        bound="deadline + 1 s",
        slow=True,
        reds=NOT_READY,
        restarts={"deadline": 2},
    ),
    "P9": Entry(
        "crash loop: every new worker exits", bound="3 restarts", slow=True, reds=NOT_READY, restarts={"load": 10}
    ),
    "P10": Entry("front process killed (kill -9)", bound="1 s, nothing left behind", bound_seconds=1.0, slow=True),
    "P11a": Entry("fork server killed (kill -9)", 5.0),
    "P11b": Entry("fork server stopped (kill -STOP), then a worker killed", 5.0, restarts={"killed": 1}),
    "P11c": Entry("preparation of a checkpoint killed (kill -9)", 5.0, slow=True),
    "P11d": Entry("preparation of a checkpoint stopped (kill -STOP)", 5.0, slow=True),
    "P11e": Entry("SIGTERM while a helper or a worker is stopped or killed", bound="the whole tree ends", slow=True),
    "P12": Entry("no room for a process when a worker dies (pids.max)", 5.0, restarts={"killed": 1}),
    "P13": Entry("slow start: fork server, worker and processors", bound="nothing restarts", slow=True),
    "P20": Entry("all processes stopped for 6 s, idle", bound="nothing red, no restart", slow=True),
    "P21": Entry("all processes stopped for 12 s, busy", bound="nothing red, no restart", slow=True),
    "P22": Entry("front process alone stopped for 2.5 s and 6 s", bound="nothing red, no restart", slow=True),
    "P23": Entry(
        "processor time only when others leave some (SCHED_IDLE)",
        bound="`/livez` not red, no restart",
        slow=True,
        reds=NOT_READY,
    ),
    "M1": Entry("model file missing at start", 1.0, slow=True),
    "M2": Entry("model file deleted while the service runs", 2.0, reds=HEALTH),
    "M3": Entry("model file truncated or altered", bound="next load", reds=HEALTH, restarts={"killed": 1, "load": 6}),
    "M4": Entry("bit of a weight changed in memory", bound="self-test period", restarts={"self_test": 1}),
    "M5": Entry("NaN in the weights", bound="1 request", reds=NOT_READY, restarts={"non_finite": 1}),
    "M6": Entry("card edited: labels permuted, wrong number of classes", bound="load", slow=True),
    "M7": Entry("preprocessing skew: resampler, hop, dB reference", bound="load", slow=True),
    "M8": Entry("bad new model at a swap", bound="before the switch", slow=True),
    "M9": Entry("checkpoint with code in it", bound="load", slow=True),
    "M10": Entry(
        "model replaced by another valid one, and a worker killed",
        2.0,
        slow=True,
        reds=HEALTH,
        restarts={"killed": 3, "load": 18},
    ),
    "M11": Entry(
        "link to the model switched to another one, and workers lost",
        2.0,
        slow=True,
        reds=HEALTH,
        restarts={"killed": 1, "self_test": 1, "load": 12},
    ),
    "M12": Entry(
        "model half written, and every worker killed",
        2.0,
        slow=True,
        reds=NOT_READY,
        restarts={"killed": 2, "load": 18},
    ),
    "R1": Entry("slow degradation: a starved processor", 30.0, slow=True, reds=NOT_READY),
    "R2": Entry("memory leak", bound="before memory runs out", restarts={"memory_growth": 1}),
    "R3": Entry("memory exhausted (RLIMIT_AS)", bound="1 request", reds=NOT_READY, restarts={"out_of_memory": 1}),
    "R4": Entry("descriptors exhausted (prlimit)", 5.0, slow=True, reds=NOT_READY),
    "R5": Entry("disk full, then read-only", 5.0, slow=True, reds=HEALTH),
    "R6": Entry("clock jumps by a day", bound="nothing restarts"),
    "R7": Entry("page cache fills the memory limit (control group)", bound="nothing turns red", slow=True),
    "R8": Entry("memory of the control group used up", 2.0, slow=True, reds=NOT_READY),
    "U1": Entry("page: its directory cannot be created at the start", 1.0, slow=True),
    "U2": Entry("page: its directory swept away while the service runs", 5.0, reds=HEALTH),
    "U3": Entry("page: its disk full while the service runs", 5.0, reds=HEALTH),
    "T1": Entry("overload, 10 times the capacity", bound="at once", slow=True),
    "T2": Entry("slow headers, slow body, half upload", bound="its timeout", slow=True),
    "T6": Entry("poison pill", bound="2nd death", reds=NOT_READY, restarts={"crashed": 2}),
    "T7": Entry("silence, noise, a tone, clicks, speech", bound="1 request"),
    "T8": Entry("drift: another mix, one class collapsing, biased logits", bound="200 recordings", slow=True),
    "T11a": Entry(
        "client whose different files each end a worker",
        bound="3rd file; no probe false",
        slow=True,
        restarts={"crashed": 16, "deadline": 4},
    ),
    "T11b": Entry(
        "workers end on recordings that were answered before",
        bound="3 restarts",
        slow=True,
        reds=NOT_READY,
        restarts={"crashed": 3},
    ),
    "T12a": Entry("300 idle connections at 256 descriptors", bound="a probe answers in 1 s", slow=True),
    "T12b": Entry("2,000 half-sent requests at 256 descriptors", bound="a probe answers in 1 s", slow=True),
    "O1": Entry("SIGTERM under load", bound="at once", slow=True),
    "O2": Entry("self-test itself stuck", bound="3 periods", slow=True, reds=NOT_READY),
    "O3": Entry("fast-failing replica", 10.0, slow=True, reds=NOT_READY),
    "O4": Entry("bad configuration, port taken", bound="start", slow=True),
    "O5": Entry(
        "log that is not read: its pipe is full", bound="no recording waits", slow=True, restarts={"killed": 1}
    ),
    "O6": Entry("signals of log rotation to every process", bound="nothing ends"),
}
