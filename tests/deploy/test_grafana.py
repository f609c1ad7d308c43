"""The dashboards: that they are in order, and that every query of every panel has data from the real programs."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from ccmusic.genres import LABELS, LEAVES
from deploy.dashboards import FOLDER, GRAFANA, Panel, Window, dashboards, metric_names, panels, series_name
from deploy.real_prometheus import (
    BLACKBOX,
    PROMETHEUS,
    RealPrometheus,
    Series,
    every,
    reachable,
    real_blackbox,
    real_prometheus,
)
from support.bands_model import write_model
from support.recordings import bin_frequency, tone, wav
from support.running_server import RunningServer, running_server
from support.waiting import wait_until

ROOT = Path(__file__).parents[2]
PROMETHEUS_FOLDER = ROOT / "deploy" / "prometheus"
RULES = PROMETHEUS_FOLDER / "rules" / "ccmusic.rules.yml"
DASHBOARDS = dashboards()
PANELS = [(name, panel) for name, dashboard in DASHBOARDS.items() for panel in panels(dashboard)]

VERBATIM = (
    'probe_success{job="ccmusic"} == 1',
    'histogram_quantile(0.95, sum(rate(http_request_duration_seconds_bucket{job="ccmusic"}[5m])) by (le))',
    'sum(rate(http_requests_total{job="ccmusic",status=~"5.."}[5m]))'
    ' / sum(rate(http_requests_total{job="ccmusic"}[5m]))',
)
EMPTY_WHILE_WELL = {"原因 Causes", "告警 Alerts"}
"""What has nothing to show while nothing is wrong; the incident of the test fills them."""
EMPTY_WITHOUT_GPU = "ccmusic_gpu_memory_used_ratio"
BUILT_IN = {"row", "stat", "timeseries", "state-timeline", "table", "heatmap", "bargauge"}
UNITS = {"none", "short", "locale", "s", "h", "percentunit", "bytes", "reqps", "cpm"}
FROM_OTHERS = {"probe_success", "ALERTS"}
"""Metrics of the blackbox exporter and of Prometheus itself."""

with_dashboard = pytest.mark.parametrize("name", DASHBOARDS)


def rules() -> dict[str, Any]:
    return yaml.safe_load(RULES.read_text(encoding="utf-8"))


def every_rule() -> list[dict[str, Any]]:
    return [rule for group in rules()["groups"] for rule in group["rules"]]


def limits() -> dict[str, float]:
    """The thresholds of the alerts that are plain numbers."""
    found = {rule["labels"]["of"]: rule["expr"] for rule in every_rule() if rule.get("record") == "ccmusic:limit"}
    words = {of: re.fullmatch(r"vector\(([\d.]+)\)", expression) for of, expression in found.items()}
    return {of: float(number[1]) if number else math.nan for of, number in words.items()}


def targets(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [target for panel in panels(dashboard) for target in panel["targets"]]


def titled(title: str) -> Panel:
    (found,) = [panel for _, panel in PANELS if panel["title"] == title]
    return found


def test_the_files_are_what_the_script_writes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, GRAFANA / "make_dashboards.py", tmp_path], check=True)

    written = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}

    assert written == {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}


def test_no_two_dashboards_share_a_uid_or_a_title() -> None:
    assert len({dashboard["uid"] for dashboard in DASHBOARDS.values()}) == len(DASHBOARDS) == 3
    assert len({dashboard["title"] for dashboard in DASHBOARDS.values()}) == len(DASHBOARDS)


@with_dashboard
def test_no_two_panels_share_an_id_or_a_title(name: str) -> None:
    every = DASHBOARDS[name]["panels"]

    assert len({panel["id"] for panel in every}) == len(every)
    assert len({panel["title"] for panel in every}) == len(every)


@with_dashboard
def test_panels_fill_the_grid_without_overlap(name: str) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARDS[name]["panels"]:
        at = panel["gridPos"]
        for place in [(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])]:
            assert place not in taken, f"{panel['title']} lies on {taken.get(place)}"
            taken[place] = panel["title"]

    height = max(y for _, y in taken) + 1
    assert len(taken) == 24 * height
    assert max(x for x, _ in taken) == 23


def test_panels_are_named_in_chinese_and_in_english() -> None:
    for _, panel in PANELS:
        assert re.search(r"[\u4e00-\u9fff].* .*[A-Za-z]", panel["title"])


def test_only_panels_of_grafana_itself_are_used() -> None:
    for _, panel in PANELS:
        assert panel["type"] in BUILT_IN
        assert panel["fieldConfig"]["defaults"].get("unit", "none") in UNITS


def test_all_queries_use_the_provisioned_data_source() -> None:
    source = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    named = re.findall(r'"datasource": \{\s*"type": "(\w+)",\s*"uid": "(\w+)"\s*\}', "".join(map(_text, DASHBOARDS)))

    assert set(named) == {(source["type"], source["uid"])} == {("prometheus", "prometheus")}
    assert len(named) == sum(_text(name).count('"datasource"') for name in DASHBOARDS)
    for _, panel in PANELS:
        assert panel["datasource"]["uid"] == source["uid"]
        assert all(target["datasource"]["uid"] == source["uid"] for target in panel["targets"])


def _text(name: str) -> str:
    return (FOLDER / f"{name}.json").read_text(encoding="utf-8")


def test_the_data_source_is_our_prometheus_with_its_scrape_interval() -> None:
    source = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    config = yaml.safe_load((PROMETHEUS_FOLDER / "prometheus.yml").read_text())

    assert source["url"] == "http://prometheus:9090"
    assert source["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]


def test_the_folder_is_provisioned() -> None:
    provider = yaml.safe_load((GRAFANA / "provisioning/dashboards/ccmusic.yml").read_text())["providers"][0]

    assert provider["folder"] == "CCMusic"
    assert provider["type"] == "file"
    compose = yaml.safe_load((ROOT / "deploy/docker/compose.yaml").read_text(encoding="utf-8"))
    mounts = dict(volume.removesuffix(":ro").split(":") for volume in compose["services"]["grafana"]["volumes"])
    assert mounts["../grafana/dashboards"] == provider["options"]["path"]
    assert mounts["../grafana/provisioning"] == "/etc/grafana/provisioning"


def test_nothing_is_fetched_from_a_foreign_network() -> None:
    addresses = {
        address
        for path in GRAFANA.rglob("*")
        if path.suffix in (".json", ".yml")
        for address in re.findall(r"https?://[^\s\"']+", path.read_text(encoding="utf-8"))
    }
    runbooks = yaml.safe_load((PROMETHEUS_FOLDER / "prometheus.yml").read_text())["global"]["external_labels"][
        "runbooks"
    ]

    assert addresses == {"http://prometheus:9090", runbooks}


@pytest.mark.parametrize("expression", VERBATIM)
def test_the_contracts_queries_are_used_verbatim(expression: str) -> None:
    assert expression in [target["expr"] for target in targets(DASHBOARDS["service"])]


def test_the_status_does_not_vanish_while_the_probe_fails() -> None:
    (target,) = titled("状态 Status")["targets"]

    assert target["expr"] == 'probe_success{job="ccmusic"}'  # without == 1, which drops the series
    assert target["instant"]  # the last value of a range would still be green after the exporter has gone


@pytest.mark.parametrize("title", ["状态 Status", "探测成功 Probe == 1"])
def test_no_data_is_red(title: str) -> None:
    defaults = titled(title)["fieldConfig"]["defaults"]
    special = [m["options"] for m in defaults["mappings"] if m["type"] == "special"]

    assert [(mapping["match"], mapping["result"]["color"]) for mapping in special] == [("null+nan", "red")]
    assert defaults["thresholds"]["steps"][0] == {"color": "red", "value": None}


def test_a_series_that_exists_only_while_a_check_fails_leaves_no_red() -> None:
    for _, panel in PANELS:
        if panel["type"] == "state-timeline":
            assert {mapping["type"] for mapping in panel["fieldConfig"]["defaults"]["mappings"]} == {"value"}


def test_every_metric_is_exposed() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) ", (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8"), re.M)
    exposed = {f"{name}_bucket" if kind == "histogram" else name for name, kind in rows}
    recorded = {rule["record"] for rule in every_rule() if "record" in rule}
    asked = set().union(*(metric_names(t["expr"]) for d in DASHBOARDS.values() for t in targets(d)))

    assert asked <= exposed | recorded | FROM_OTHERS
    # and the other way round: what the service tells of itself and of recordings is on a dashboard
    ours = {name for name in exposed if name.startswith(("ccmusic_", "http_"))}
    assert ours <= asked


def test_the_services_series_follow_the_instance_or_are_verbatim() -> None:
    for target in [target for dashboard in DASHBOARDS.values() for target in targets(dashboard)]:
        for selector in re.findall(r"(?:ccmusic|http|process)_\w+\{([^}]*)\}", target["expr"]):
            assert selector.startswith('job="ccmusic"')
            assert ('instance=~"$instance"' in selector) != (target["expr"] in VERBATIM)


def test_limits_are_those_of_the_rules() -> None:
    drawn = set(re.findall(r"ccmusic:limit\{of=\\\"(\w+)\\\"\}", "".join(map(_text, DASHBOARDS))))

    assert len(drawn) > 10
    assert drawn <= set(limits())


def test_colours_change_at_the_limits_of_the_alerts() -> None:
    def steps(title: str) -> list[float]:
        return [step["value"] for step in titled(title)["fieldConfig"]["defaults"]["thresholds"]["steps"][1:]]

    budget = limits()["error_budget"]
    assert steps("可用率 Availability 30d") == [pytest.approx(1 - budget)]
    assert steps("错误率 Error ratio 30d") == [pytest.approx(budget)]
    (drift,) = [p for _, p in PANELS if p["title"].startswith("漂移") and p["type"] == "stat"]
    assert drift["fieldConfig"]["defaults"]["thresholds"]["steps"][1]["value"] == limits()["drift_statistic"]


@with_dashboard
def test_runbooks_are_those_of_alerts(name: str) -> None:
    alerts = {rule["alert"] for rule in every_rule() if "alert" in rule}
    linked = set(re.findall(r"\$\{runbooks\}/(\w+)\.md", _text(name)))

    assert linked
    assert linked <= alerts
    assert all((ROOT / "docs" / "runbooks" / f"{alert}.md").is_file() for alert in linked)


def test_runbooks_are_where_the_alerts_link_to() -> None:
    config = yaml.safe_load((PROMETHEUS_FOLDER / "prometheus.yml").read_text())

    for dashboard in DASHBOARDS.values():
        (variable,) = [v for v in dashboard["templating"]["list"] if v["name"] == "runbooks"]
        assert variable["query"] == config["global"]["external_labels"]["runbooks"]


def test_every_genre_has_names_and_a_colour() -> None:
    named = {
        entry["matcher"]["options"]: {p["id"]: p["value"] for p in entry["properties"]}
        for entry in titled("流派 Genres")["fieldConfig"]["overrides"]
    }

    assert tuple(named) == LABELS
    assert all(named[leaf.label]["displayName"] == f"{leaf.label_zh} {leaf.label_en}" for leaf in LEAVES)
    assert len({properties["color"]["fixedColor"] for properties in named.values()}) == len(LABELS)


@pytest.mark.deploy
@with_dashboard
def test_grafanas_own_schema_knows_every_field(name: str) -> None:
    sdk = pytest.importorskip("grafana_foundation_sdk.models.dashboard", reason="grafana-foundation-sdk is not here")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins

    register_default_plugins()
    kept = json.loads(JSONEncoder(sort_keys=True).encode(sdk.Dashboard.from_json(DASHBOARDS[name])))

    assert dict(_leaves(DASHBOARDS[name])).items() <= dict(_leaves(kept)).items()


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(inner, f"{path}.{name}")
    else:
        yield path, value


# With the real programs.

SCRAPE_SECONDS = 1
N_TRAFFIC = 220
"""Enough for rates, and for every genre to come up."""
WINDOW_SECONDS = 30.0
ROUNDS = 5


@dataclass
class Monitored:
    """A service under traffic and what watches it."""

    server: RunningServer
    prometheus: RealPrometheus
    model_file: Path

    def window(self) -> Window:
        """The last half minute."""
        return Window(time.time(), WINDOW_SECONDS, SCRAPE_SECONDS, SCRAPE_SECONDS)

    def ask(self, target: dict[str, Any], window: Window) -> list[Series]:
        """The series of a panel's query that have a number to show."""
        expression = window.filled(target["expr"])
        if target["instant"]:
            found = self.prometheus.query(expression, window.end)
        else:
            found = self.prometheus.query_range(expression, window.start, window.end, window.step_seconds)
        return [series for series in found if _numbers(series)]

    def holds(self, expression: str) -> bool:
        """Whether a comparison gives a series."""
        return bool(self.prometheus.query(expression))


def _numbers(series: Series) -> list[float]:
    values = [series["value"]] if "value" in series else series["values"]
    return [number for _, word in values if math.isfinite(number := float(word))]


def send(server: RunningServer, body: bytes) -> int:
    """Classify one recording; the status."""
    headers = {"Content-Type": "application/octet-stream"}
    return httpx.post(f"{server.url}/v1/classify", content=body, headers=headers, timeout=60).status_code


TONES = tuple(wav(tone(bin_frequency(5 * band + 2), 0.5)) for band in range(len(LABELS)))
"""One recording for each genre of the bands model."""


@contextmanager
def traffic(server: RunningServer) -> Iterator[None]:
    """One client that asks without end, a file of every genre and a broken one in turn."""
    files = (*TONES, b"no music at all")
    stop = threading.Event()

    def ask() -> None:
        turn = 0
        while not stop.is_set():
            send(server, files[turn % len(files)])
            turn += 1

    client = threading.Thread(target=ask)
    client.start()
    try:
        yield
    finally:
        stop.set()
        client.join()


def _soon(rules: str) -> str:
    """Alerts that wait for seconds wait for one."""
    return re.sub(r"for: \d+s$", "for: 1s", rules, flags=re.M)


@pytest.fixture(scope="module")
def monitored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    if missing := [program for program in (PROMETHEUS, BLACKBOX) if shutil.which(program) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("monitored")
    mix = (1 / len(LABELS),) * len(LABELS)
    # the tones are short, and drift is not told from what is too short
    model = write_model(folder / "model", reference_mix=mix, too_short_below_seconds=0.1)
    environment = {"CCMUSIC_MODEL": str(model), "CCMUSIC_WORKERS": "2", "CCMUSIC_SELF_TEST_SECONDS": "2"}
    with running_server("--no-page", **environment) as server:
        server.wait_healthy()
        with (
            real_blackbox((PROMETHEUS_FOLDER / "blackbox.yml").read_text(), folder / "blackbox") as blackbox,
            real_prometheus(
                reachable(
                    every(SCRAPE_SECONDS, (PROMETHEUS_FOLDER / "prometheus.yml").read_text(encoding="utf-8")),
                    {"ccmusic:7860": server.url.removeprefix("http://"), "blackbox:9115": blackbox},
                ),
                folder / "prometheus",
                {"rules/ccmusic.rules.yml": _soon(every(SCRAPE_SECONDS, RULES.read_text(encoding="utf-8")))},
            ) as prometheus,
            traffic(server),
        ):
            file = model / json.loads((model / "card.json").read_text())["file"]
            yield Monitored(server, prometheus, file)


@pytest.fixture(scope="module")
def busy(monitored: Monitored) -> Monitored:
    """After a day's events in short: answers, refusals, a worker's end; and well again."""
    with ThreadPoolExecutor(4) as clients:
        statuses = list(clients.map(lambda turn: send(monitored.server, TONES[turn % len(TONES)]), range(N_TRAFFIC)))
    assert set(statuses) == {200}
    os.kill(monitored.server.health().json()["workers"][0]["pid"], signal.SIGKILL)
    wait_until(lambda: monitored.holds('ccmusic_worker_restarts_total{reason="killed"} > 0'), "the restart is counted")
    wait_until(
        lambda: monitored.holds('ccmusic_failures_total{reason="unsupported-media"} > 0'), "failures are counted"
    )
    wait_until(lambda: monitored.holds('sum(ccmusic_workers{state=~"idle|busy|testing"}) == 2'), "the worker is back")
    wait_until(lambda: monitored.holds("ccmusic_drift_statistic"), "drift is watched")
    # a rate needs two scrapes, a rule a round more, and a rule over a rule another one
    wait_until(lambda: monitored.holds(f'min(count_over_time(up{{job="ccmusic"}}[5m])) >= {ROUNDS}'), "enough is known")
    wait_until(lambda: monitored.holds(f"min(count_over_time(ccmusic:failure_ratio:3d[5m])) >= {ROUNDS}"), "rules ran")
    return monitored


@pytest.mark.deploy
def test_every_query_has_data(busy: Monitored) -> None:
    window = busy.window()
    empty = {
        (panel["title"], target["expr"])
        for _, panel in PANELS
        for target in panel["targets"]
        if not busy.ask(target, window)
    }

    allowed = {(p["title"], t["expr"]) for _, p in PANELS for t in p["targets"] if p["title"] in EMPTY_WHILE_WELL}
    gpu = {(title, expression) for title, expression in empty if EMPTY_WITHOUT_GPU in expression}
    # on a machine that is busy with something else the service may warn that it is slow: then they are not empty
    assert empty - gpu <= allowed
    assert gpu == set() or not busy.holds(EMPTY_WITHOUT_GPU)


@pytest.mark.deploy
def test_no_two_curves_of_a_panel_have_the_same_name(busy: Monitored) -> None:
    window = busy.window()
    for _, panel in PANELS:
        if panel["type"] not in ("table", "stat"):
            names = [series_name(t, s["metric"]) for t in panel["targets"] for s in busy.ask(t, window)]
            assert len(set(names)) == len(names), panel["title"]
            assert "" not in names, panel["title"]


@pytest.mark.deploy
def test_the_instance_variable_has_the_service(busy: Monitored) -> None:
    (variable,) = [v for v in DASHBOARDS["service"]["templating"]["list"] if v["name"] == "instance"]
    metric, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"]).groups()

    found = busy.prometheus.get(f"label/{label}/values", **{"match[]": metric})

    assert found == [busy.server.url.removeprefix("http://")]


@pytest.mark.deploy
def test_an_incident_is_seen_with_its_cause_and_ends(busy: Monitored) -> None:
    status, alerts = titled("状态 Status"), titled("告警 Alerts")
    annotation = DASHBOARDS["service"]["annotations"]["list"][0]["target"]["expr"]
    away = busy.model_file.with_suffix(".away")
    busy.model_file.rename(away)
    try:
        wait_until(lambda: busy.holds('probe_success{job="ccmusic"} == 0'), "the probe fails")
        assert not busy.holds(VERBATIM[0])
        assert [_numbers(series) for series in busy.ask(status["targets"][0], busy.window())] == [[0.0]]

        wait_until(lambda: "model_file" in _causes(busy), "the cause is in the table")
        cause = _causes(busy)["model_file"]
        assert cause["status"] == "fail"
        assert str(busy.model_file) in cause["cause"]
        assert {"check", "status", "cause", "instance"} <= set(cause)

        wait_until(lambda: busy.holds(annotation), "an alert fires")
        fired = {series["metric"]["alertname"] for series in busy.ask(alerts["targets"][0], busy.window())}
        assert fired & {"CcmusicRed", "CcmusicProbeFails"}
        wait_until(lambda: (busy.prometheus.value(VERBATIM[2]) or 0) > 0, "a red /health counts among the errors")
    finally:
        away.rename(busy.model_file)
    wait_until(lambda: busy.holds(VERBATIM[0]), "the probe succeeds again")
    wait_until(lambda: "model_file" not in _causes(busy), "the cause is gone")


def _causes(busy: Monitored) -> dict[str, dict[str, str]]:
    """The rows of the table of causes by their check."""
    series = busy.ask(titled("原因 Causes")["targets"][0], busy.window())
    return {row["metric"]["check"]: row["metric"] for row in series}
