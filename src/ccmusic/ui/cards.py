"""Small parts of the page as HTML: header, notices, the line about the model, the status of the service."""

from __future__ import annotations

from html import escape
from typing import Literal

from ccmusic.appearance import LOGO
from ccmusic.inference.result import TrackResult
from ccmusic.monitoring.drift_watch import DriftOf, DriftState
from ccmusic.monitoring.service_snapshot import ServiceSnapshot
from ccmusic.ui.texts import TITLE, Language, clock, duration_text, text
from ccmusic.workers.records import WorkerRecord, WorkerState

SHORT_HASH = 12
STATUS_REFRESH_SECONDS = 3.0

STARTING_CODES = frozenset({"not_started", "loading", "preparing"})
"""Codes of health checks that fail during a normal start."""

Kind = Literal["info", "warning", "error"]


def header_html() -> str:
    """The logo and the name of the product."""
    return f'<header class="cc-header">{LOGO}<h1>{TITLE}</h1></header>'


def notice_html(kind: Kind, message: str, detail: str = "", language: Language = "en") -> str:
    """A notice. `detail` is technical text, folded away at first."""
    icon = {"info": "i", "warning": "!", "error": "×"}[kind]
    more = (
        f"<details><summary>{text('detail', language)}</summary><code>{escape(detail)}</code></details>"
        if detail
        else ""
    )
    role = "alert" if kind == "error" else "status"
    return f'<div class="cc-notice cc-{kind}" role="{role}"><b>{icon}</b><div>{escape(message)}{more}</div></div>'


def flags_html(result: TrackResult, language: Language) -> str:
    """A notice for each flag of an answer. The kind of non-music, if known, replaces the flag `uncertain`."""
    keys = [f"flag.{flag}" for flag in result.flags]
    if result.odd not in (None, "silence"):  # silence has its own flag
        keys = [f"odd.{result.odd}" if key == "flag.uncertain" else key for key in keys]
    return "".join(notice_html("warning", text(key, language)) for key in keys)


def model_html(result: TrackResult, language: Language) -> str:
    """The model that answered, and the time that it took. The tooltip has the whole hash."""
    model = result.model
    answered = text("model.answered", language, name=escape(model.name), version=escape(model.version))
    analysed = text(
        "model.analysed", language, seconds=clock(result.duration_seconds), took=f"{sum(result.timings.values()):.1f}"
    )
    return f'<p class="cc-model">{answered} · {_hash_html(model.sha256, language)} · {analysed}</p>'


def _hash_html(sha256: str, language: Language) -> str:
    title = text("model.hash", language, sha256=sha256)
    return f'<code title="{escape(title)}">{escape(sha256[:SHORT_HASH])}</code>'


def colour_of(snapshot: ServiceSnapshot) -> Literal["green", "amber", "red"]:
    """The status light: green if healthy, amber with warnings or while the model loads, red otherwise."""
    if snapshot.healthy:
        return "amber" if snapshot.warnings else "green"
    failing = snapshot.failing("health")
    return "amber" if failing is not None and failing.code in STARTING_CODES else "red"


def status_html(snapshot: ServiceSnapshot, language: Language) -> str:
    """The status tab: a light, the causes of problems, the uptime, the model and the workers."""
    colour = colour_of(snapshot)
    degraded = "status.degraded" if snapshot.healthy else "status.loading"
    headline = text({"green": "status.healthy", "amber": degraded, "red": "status.unhealthy"}[colour], language)
    causes = [snapshot.message] if snapshot.message and colour == "red" else []
    cause = "".join(f"<p>{escape(line)}</p>" for line in [*causes, *snapshot.warnings])
    none = text("status.none", language)
    model = none
    if snapshot.served is not None:
        identity = snapshot.served.identity
        model = f"{escape(identity.name)} {escape(identity.version)} {_hash_html(identity.sha256, language)}"
    facts = {
        "status.uptime": duration_text(snapshot.uptime_seconds, language),
        "status.model_status": text(f"status.model_status.{snapshot.model_status}", language),
        "status.model": model,
        "status.self_test": _self_test_html(snapshot, language),
        "status.drift": _drift_html(snapshot.drift, language),
        "status.workers": _workers_html(snapshot.supervisor.workers, language) or none,
    }
    rows = "".join(f"<dt>{text(key, language)}</dt><dd>{value}</dd>" for key, value in facts.items())
    refreshed = text("status.refreshed", language, seconds=f"{STATUS_REFRESH_SECONDS:g}")
    return (
        f'<section class="cc-card cc-status" data-colour="{colour}"><div class="cc-light cc-{colour}">'
        f"<span></span><div><h3>{headline}</h3>{cause}</div></div><dl>{rows}</dl><small>{refreshed}</small></section>"
    )


def _self_test_html(snapshot: ServiceSnapshot, language: Language) -> str:
    test = snapshot.supervisor.self_test
    if test is None:
        return text("status.none", language)
    key = "status.self_test.ok" if test.passed else "status.self_test.failed"
    return text(key, language, age=duration_text(test.age_seconds, language))


def _drift_html(drift: DriftState, language: Language) -> str:
    if not drift.kinds:
        return text("status.none", language)
    if not drift.drifted:
        return text("status.drift.usual", language, recordings=drift.recordings)
    return "<br>".join(_drift_line(kind, language) for kind in drift.drifted)


def _drift_line(of: DriftOf, language: Language) -> str:
    if of.group is not None:
        genre = of.group.label_zh if language == "zh" else of.group.label_en
        shares = {"mean": f"{of.mean:.0%}", "expected": f"{of.expected:.0%}"}
        return text("status.drift.mix", language, genre=escape(genre), recordings=of.recordings, **shares)
    change = text(f"status.drift.change.{of.change}", language)
    return text(f"status.drift.{of.kind}", language, change=change, recordings=of.recordings)


def _workers_html(workers: tuple[WorkerRecord, ...], language: Language) -> str:
    lights: dict[WorkerState, str] = {
        "starting": "amber",
        "idle": "green",
        "busy": "blue",
        "testing": "green",
        "failed": "red",
        "retiring": "amber",
    }
    lines = []
    for worker in workers:
        facts = [text(f"status.worker.{worker.state}", language)]
        if worker.pid is not None:
            facts.append(text("status.worker.process", language, pid=worker.pid))
        facts.append(text("status.worker.jobs", language, jobs=worker.jobs))
        if worker.restarts:
            facts.append(text("status.worker.restarts", language, restarts=worker.restarts))
        title = f' title="{escape(worker.error)}"' if worker.error else ""
        line = text("status.worker", language, number=worker.index + 1, facts=text("comma", language).join(facts))
        lines.append(f'<li{title}><span class="cc-{lights[worker.state]}"></span>{line}</li>')
    return f"<ul>{''.join(lines)}</ul>" if lines else ""
