"""PromQL that several dashboards use.

The three queries of docs/contract.md are used unchanged, without ``$instance``, because other dashboards rely on them.
Every other query of the service's metrics uses that variable.
"""

from __future__ import annotations

from panels import overrides, values

from ccmusic.genres import LEAVES

UP = 'probe_success{job="ccmusic"} == 1'
P95 = 'histogram_quantile(0.95, sum(rate(http_request_duration_seconds_bucket{job="ccmusic"}[5m])) by (le))'
ERRORS = (
    'sum(rate(http_requests_total{job="ccmusic",status=~"5.."}[5m]))'
    ' / sum(rate(http_requests_total{job="ccmusic"}[5m]))'
)

SERVICE_FAILURES = "overloaded|model-not-ready|inference-timeout|insufficient-storage|internal"
"""Reasons of failures that the service caused; every other reason is an error of the client."""
OBJECTIVE = 0.995

JOB = 'job="ccmusic",instance=~"$instance"'
YES_OR_NO = values(_1=("是 Yes", "green"), _0=("否 No", "red"))
# fmt: off
GENRE_COLORS = (
    "#8a4b08", "#b5651d", "#d98e2b", "#f2c063",
    "#1f4e8c", "#3d7cc9", "#8ab8ff", "#5a2d91", "#a16ad6", "#1b7f79", "#4fc3b5", "#c2377e",
    "#2e6b2e", "#56a64b", "#96d98d", "#7a8b99",
)
# fmt: on
"""Browns for classical, the others by their group in the level of 9."""
GENRES = overrides(
    {leaf.label: (f"{leaf.label_zh} {leaf.label_en}", color) for leaf, color in zip(LEAVES, GENRE_COLORS, strict=True)}
)


def rate(metric: str, *labels: str) -> str:
    """Rate per second, over the interval that Grafana selects."""
    return f"rate({metric}{{{','.join((JOB, *labels))}}}[$__rate_interval])"


def quantile(q: float, metric: str, by: str = "le") -> str:
    """A quantile of a histogram."""
    return f"histogram_quantile({q:g}, sum by ({by}) ({rate(f'{metric}_bucket')}))"
