from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ccmusic.monitoring.metrics_page import reference_page


def test_rows_are_sorted_and_list_the_values_of_closed_sets():
    registry = CollectorRegistry()
    Gauge("a_gauge", "Not ours.", registry=registry)
    Histogram("ccmusic_b_seconds", "How long.", ["handler"], registry=registry).labels("/x")
    failures = Counter("ccmusic_a", "How often.", ["reason"], registry=registry)
    for reason in ("first", "second"):
        failures.labels(reason)
    rows = [line for line in reference_page(registry).splitlines() if line.startswith("| `")]
    assert rows == [
        "| `ccmusic_a_total` | counter | `reason`: first, second | How often. |",
        "| `ccmusic_b_seconds` | histogram | `handler`<br>`le` | How long. |",
        "| `a_gauge` | gauge |  | Not ours. |",
    ]
