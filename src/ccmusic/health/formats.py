"""A snapshot as plain JSON, as health+json, and as text lines."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from ccmusic.health.check import CheckResult, Probe, Status
from ccmusic.health.snapshot import NOT_STARTED, HealthSnapshot


def plain(snapshot: HealthSnapshot, probe: Probe = "health") -> dict[str, Any]:
    """Body of ``GET /health`` and of the other probes, which list only the checks that affect them."""
    body: dict[str, Any] = {"status": "ok" if snapshot.passes(probe) else "error"}
    if (message := snapshot.message_of(probe)) is not None:
        body["message"] = message
    body |= {
        "timestamp": int(time.time()),
        "service": snapshot.service,
        "version": snapshot.version,
        "model_status": snapshot.model_status,
        "uptime_seconds": round(snapshot.uptime_seconds, 3),
        "checks": {
            check.name: _plain_check(check) for check in snapshot.checks if probe == "health" or probe in check.affects
        },
    }
    if probe == "health":
        if warnings := snapshot.warnings:
            body["warnings"] = list(warnings)
        # A detail never replaces a field of the format.
        body |= {name: value for name, value in snapshot.details.items() if name not in body}
    return body


def health_json(snapshot: HealthSnapshot, probe: Probe = "health") -> dict[str, Any]:
    """The same state as ``application/health+json``.

    References
    ----------
    draft-inadarei-api-health-check-06, Health Check Response Format for HTTP APIs
    """
    status = _status(snapshot, probe)
    body: dict[str, Any] = {
        "status": status,
        "version": snapshot.version,
        "releaseId": snapshot.version,
        "serviceId": snapshot.service,
        "description": f"{probe} of {snapshot.service}",
    }
    if status != "pass":
        unwell = (f"{check.name}: {check.cause}" for check in snapshot.checks if check.status != "pass")
        body["output"] = snapshot.message_of(probe) or "; ".join(unwell)
    checks: dict[str, list[dict[str, Any]]] = {}
    for check in snapshot.checks:
        checks.setdefault(f"{check.component}:{check.measurement}", []).append(_health_json_check(check))
    uptime = {"componentType": "system", "observedValue": round(snapshot.uptime_seconds, 3), "observedUnit": "s"}
    checks.setdefault("uptime", []).append(uptime | {"status": "pass", "time": _rfc3339(time.time())})
    return body | {"checks": checks}


def verbose(snapshot: HealthSnapshot, probe: Probe) -> str:
    """Text lines as Kubernetes' own ``?verbose`` prints them: one for each check that affects the probe."""
    lines: list[str] = []
    passes = snapshot.passes(probe)
    for check in snapshot.checks:
        if probe not in check.affects:
            continue
        if check.status == "pass":
            lines.append(f"[+]{check.name} ok")
            continue
        # A check that fails after the start does not undo the start.
        mark = "[-]" if check.status == "fail" and not passes else "[!]"
        lines.append(f"{mark}{check.name}: {check.cause}")
        if check.output:
            lines += [f"    {line}" for line in check.output.splitlines()]
    if snapshot.message_of(probe) == NOT_STARTED:
        lines.append(f"[-]{NOT_STARTED.removeprefix('Health check failed: ')}")
    lines.append(f"{probe} check {'passed' if passes else 'failed'}")
    return "\n".join(lines) + "\n"


def _status(snapshot: HealthSnapshot, probe: Probe) -> Status:
    if not snapshot.passes(probe):
        return "fail"
    return "pass" if all(check.status == "pass" for check in snapshot.checks) else "warn"


def _plain_check(check: CheckResult) -> dict[str, Any]:
    optional = {"cause": check.cause, "value": check.value, "unit": check.unit}
    return {"status": check.status} | {key: value for key, value in optional.items() if value is not None}


def _health_json_check(check: CheckResult) -> dict[str, Any]:
    body: dict[str, Any] = {"componentType": check.component_type}
    if check.value is not None:
        body["observedValue"] = check.value
    if check.unit is not None:
        body["observedUnit"] = check.unit
    body |= {"status": check.status, "time": _rfc3339(check.observed_at)}
    if check.status != "pass":  # the draft omits both from a pass
        body["affectedEndpoints"] = [f"/{probe}" for probe in sorted(check.affects)]
        body["output"] = "\n".join(text for text in (check.cause, check.output) if text)
    return body


def _rfc3339(epoch_seconds: float) -> str:
    return datetime.fromtimestamp(epoch_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
