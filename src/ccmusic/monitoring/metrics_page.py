"""Every metric with its type, labels and meaning, as a page: written from the registry, so that it cannot be wrong."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

HEAD = """# Metrics

Written by `ccmusic metrics` from the service's own registry; `GET /metrics` gives them in Prometheus' text format, or
as OpenMetrics where the scraper asks for it. Series of a closed set (their values stand here) are there from the first
scrape on, with 0. What is not known yet, such as the age of a self-test before the first, has no series.

| metric | type | labels | meaning |
|---|---|---|---|
"""
CLOSED = ("probe", "state", "reason", "process", "stage", "genre", "flag")
"""Labels with a closed set of values, which are named."""
OURS = ("ccmusic_", "http_")


def reference_page(registry: CollectorRegistry) -> str:
    """Describe every metric of a registry in Markdown.

    Parameters
    ----------
    registry : CollectorRegistry
        Of a service, which need not have started.

    Returns
    -------
    str
        Ours first, each kind by name.
    """
    families = {family.name: family for family in registry.collect()}
    names = sorted(families, key=lambda name: (not name.startswith(OURS), name))
    return HEAD + "".join(_row(families[name]) for name in names)


def _row(family: Metric) -> str:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = "<br>".join(_labels(family))
    return f"| `{name}` | {family.type} | {labels} | {family.documentation} |\n"


def _labels(family: Metric) -> Iterator[str]:
    names = list(getattr(family, "_labelnames", ()))  # of a family without series
    values: dict[str, list[str]] = {name: [] for name in names}
    for sample in family.samples:
        for name, value in sample.labels.items():
            if value not in values.setdefault(name, []):
                values[name].append(value)
    for name, seen in values.items():
        yield f"`{name}`: {', '.join(seen)}" if name in CLOSED else f"`{name}`"
