"""The shipped Prometheus: configuration, rules and their cases, runbooks; and all of it in the real programs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from starlette.routing import Match

from ccmusic.cli import build_parser
from ccmusic.errors import SLUGS, AudioError, CcmusicError, InvalidParameter
from ccmusic.health import state
from ccmusic.serving import checks
from ccmusic.serving.app import create_app
from ccmusic.workers.supervisor_state import SupervisorState
from deploy.dashboards import metric_names
from deploy.real_prometheus import RealPrometheus, every, reachable, real_blackbox, real_prometheus
from support.bands_model import write_model
from support.running_server import RunningServer, running_server
from support.stub_http import stub_http
from support.waiting import wait_until

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
RUNBOOKS = ROOT / "docs" / "runbooks"
CONFIG = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
RULES_TEXT = (FOLDER / "rules" / "ccmusic.rules.yml").read_text(encoding="utf-8")
GROUPS = yaml.safe_load(RULES_TEXT)["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
NAMES = sorted({rule["alert"] for rule in ALERTS})
CASE_FILES = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in FOLDER.glob("tests/*.test.yml")}
CASES = [case for file in CASE_FILES.values() for case in file["tests"]]

ALWAYS_FIRES = "CcmusicWatchdog"
ANNOTATIONS = {"summary", "summary_zh", "description", "description_zh", "runbook_url"}
SECTIONS = ["What it means / 含义", "How to see it", "What to do", "Who is affected"]
FOREIGN = {
    "up",
    "ALERTS",
    "probe_success",
    "probe_http_status_code",
    "probe_duration_seconds",
    "alertmanager_notification_requests_failed_total",
    "prometheus_notifications_errors_total",
    "ccmusic_wecom_failures_total",  # the bridge's own
}
"""Metrics of other programs than the service."""
CHINESE = re.compile(r"[\u4e00-\u9fff]")
TEMPLATE_QUERY = re.compile(r"`([^`]+)`")


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression with the name of its rule, those in the annotations too."""
    for rule in RULES:
        name = rule.get("alert") or rule["record"]
        yield name, rule["expr"]
        for text in rule.get("annotations", {}).values():
            yield from ((name, query.replace("%q", '""')) for query in TEMPLATE_QUERY.findall(text))


def documented_metrics() -> set[str]:
    """What the service exposes: docs/metrics.md, which is written from its registry."""
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", text, re.MULTILINE)
    series = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count")}
    return {name + end for name, kind in rows for end in series.get(kind, ("",))}


def known_metrics() -> set[str]:
    return documented_metrics() | FOREIGN | {rule["record"] for rule in RULES if "record" in rule}


# rules


@pytest.mark.parametrize("alert", ALERTS, ids=lambda rule: f"{rule['alert']}-{rule['labels'].get('symptom', '')}")
def test_an_alert_has_what_a_person_needs(alert: dict[str, Any]) -> None:
    assert set(alert["annotations"]) == ANNOTATIONS
    assert all(text.strip() for text in alert["annotations"].values())
    assert all(CHINESE.search(alert["annotations"][name]) for name in ("summary_zh", "description_zh"))
    assert not any(CHINESE.search(alert["annotations"][name]) for name in ("summary", "description"))
    assert alert["annotations"]["runbook_url"] == "{{ $externalLabels.runbooks }}/" + alert["alert"] + ".md"
    assert alert["labels"]["service"] == "ccmusic"
    assert alert["labels"]["severity"] in ({"none"} if alert["alert"] == ALWAYS_FIRES else {"critical", "warning"})


def test_alerts_and_pages_correspond() -> None:
    assert len(NAMES) == 24
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == {*NAMES, "README"}


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_fires_in_one_case_and_not_in_another(name: str) -> None:
    tests = [test for case in CASES for test in case.get("alert_rule_test", []) if test["alertname"] == name]
    firing = [alert for test in tests for alert in test["exp_alerts"]]
    written = [rule for rule in ALERTS if rule["alert"] == name]

    assert firing
    assert {alert["exp_labels"].get("symptom") for alert in firing} == {
        rule["labels"].get("symptom") for rule in written
    }
    assert all(set(alert["exp_annotations"]) == ANNOTATIONS for alert in firing)
    # in a case of its own: a moment before it fires does not count
    quiet = [
        case
        for case in CASES
        if (asked := [test for test in case.get("alert_rule_test", []) if test["alertname"] == name])
        and not any(test["exp_alerts"] for test in asked)
    ]
    assert bool(quiet) != (name == ALWAYS_FIRES)


def test_every_recording_rule_has_a_case() -> None:
    asked = {
        metric for case in CASES for test in case.get("promql_expr_test", []) for metric in metric_names(test["expr"])
    }
    recorded = {rule["record"] for rule in RULES if "record" in rule}

    assert recorded - {"ccmusic:limit"} <= asked  # the limits are tried by every case
    assert all(name.startswith("ccmusic:") for name in recorded)


def test_cases_evaluate_the_groups_in_an_order_that_is_fixed() -> None:
    for file in CASE_FILES.values():
        assert sorted(file["group_eval_order"]) == sorted(group["name"] for group in GROUPS)


def test_every_metric_is_exposed() -> None:
    unknown = {(name, metric) for name, text in expressions() for metric in metric_names(text) - known_metrics()}

    assert unknown == set()


def test_each_limit_is_defined_once_and_used() -> None:
    limits = [rule["labels"]["of"] for rule in RULES if rule.get("record") == "ccmusic:limit"]
    used = {of for _, text in expressions() for of in re.findall(r'ccmusic:limit\{of="(\w+)"\}', text)}

    assert len(set(limits)) == len(limits)
    # one that is not there would be NaN, and its alert would never fire
    assert used == set(limits)


def test_the_two_series_of_up_are_distinguished() -> None:
    for name, text in expressions():
        for selector in re.findall(r"\bup\{([^}]*)\}", text):
            assert 'job="ccmusic"' not in selector or "probe" in selector, name


def test_only_the_services_reasons_are_failures() -> None:
    theirs = {kind.slug for kind in _kinds(AudioError) | {InvalidParameter}} - {CcmusicError.slug}
    (reasons,) = {
        tuple(re.findall(r'reason=~"([^"]*)"', r["expr"])) for r in RULES if ":failures:" in r.get("record", "")
    }

    assert set(reasons[0].split("|")) == set(SLUGS) - theirs


def _kinds(kind: type[CcmusicError]) -> set[type[CcmusicError]]:
    return {kind}.union(*map(_kinds, kind.__subclasses__()))


def test_the_excused_states_are_those_of_the_service() -> None:
    loading = checks.model_check(SupervisorState())
    preparing = checks.model_check(SupervisorState(preparing="building vgg19_bn"))
    service = state.Health("service", "1")
    service.start()
    service.drain()
    draining = service.snapshot().checks[0]
    service.stop()

    (rule,) = [rule for rule in RULES if rule.get("record") == "ccmusic:loading"]
    assert f'code=~"{loading.code}|{preparing.code}"' in rule["expr"]
    (rule,) = [rule for rule in RULES if rule.get("record") == "ccmusic:draining"]
    assert rule["expr"].count(f'check="{draining.name}",status="{draining.status}"') == 2


# configuration


def test_the_probe_is_given_to_the_job_of_the_service() -> None:
    jobs = {job["job_name"]: job for job in CONFIG["scrape_configs"]}

    assert list(jobs) == ["ccmusic", "ccmusic-probe", "prometheus", "alertmanager", "wecom-bridge"]
    (target,) = jobs["ccmusic-probe"]["static_configs"]
    assert target == {"targets": ["http://ccmusic:7860/health"], "labels": {"probe": "health"}}
    relabelled = {step["target_label"]: step.get("replacement") for step in jobs["ccmusic-probe"]["relabel_configs"]}
    assert relabelled == {"__param_target": None, "instance": None, "job": "ccmusic", "__address__": "blackbox:9115"}
    module = yaml.safe_load((FOLDER / "blackbox.yml").read_text(encoding="utf-8"))["modules"]
    assert list(module) == jobs["ccmusic-probe"]["params"]["module"]


def test_the_label_for_the_links_is_taken_off_the_alerts() -> None:
    (step,) = CONFIG["alerting"]["alert_relabel_configs"]

    assert step == {"action": "labeldrop", "regex": "runbooks"}
    assert list(CONFIG["global"]["external_labels"]) == ["runbooks"]


# runbooks


def page(name: str) -> str:
    return (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_its_sections_and_fits_a_screen(name: str) -> None:
    text = page(name)
    severities = {rule["labels"]["severity"] for rule in ALERTS if rule["alert"] == name}

    assert text.startswith(f"# {name}\n\n**{severities.pop()}**")
    assert severities == set()
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == SECTIONS
    meaning = text.split("## ")[1].strip().split("\n\n")[1:]
    assert [bool(CHINESE.search(paragraph)) for paragraph in meaning[:2]] == [False, True]
    assert len(text.splitlines()) < 60


@pytest.mark.parametrize("name", [*NAMES, "README"])
def test_commands_and_paths_in_a_page_exist(name: str, make_settings: Any) -> None:
    text = page(name)
    for block in blocks(text, "promql"):
        for expression in block.splitlines():
            assert metric_names(expression) <= known_metrics() | {"ALERTS"}, expression
    commands = [line.split(" #")[0] for block in blocks(text, "sh") for line in block.splitlines()]
    for line in commands:
        if line.startswith("ccmusic "):
            assert build_parser().parse_args(shlex.split(line)[1:])
    routes = create_app(make_settings()).router.routes
    for method, path in _requests(text):
        scope = {"type": "http", "method": method, "path": path, "root_path": ""}
        assert any(route.matches(scope)[0] is Match.FULL for route in routes), path
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (RUNBOOKS / link).exists(), link
    for setting in re.findall(r"CCMUSIC_([A-Z_]+)", text):
        assert setting.lower() in type(make_settings()).model_fields, setting


def _requests(text: str) -> Iterator[tuple[str, str]]:
    for line in re.findall(r".*\$(?:CCMUSIC|MANAGEMENT)/.*", text):
        method = re.search(r"-X (\w+)", line)
        for path in re.findall(r"\$(?:CCMUSIC|MANAGEMENT)(/[\w./-]+)", line):
            yield method[1] if method else "GET", path.replace("/ID", "/1").rstrip(".")


def test_the_index_lists_each_alert_as_it_is() -> None:
    rows = re.findall(
        r"^\| \[(\w+)\]\((\w+)\.md\) \| (\w+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", page("README"), re.MULTILINE
    )

    assert sorted(name for name, *_ in rows) == NAMES
    for name, link, severity, after, english, chinese in rows:
        written = [rule for rule in ALERTS if rule["alert"] == name]
        assert link == name
        assert {rule["labels"]["severity"] for rule in written} == {severity}
        assert after == " / ".join(_words(rule.get("for")) for rule in written)
        assert CHINESE.search(chinese)
        assert not CHINESE.search(english)


def _words(duration: str | None) -> str:
    if duration is None:
        return "at once"
    return f"{duration[:-1]} {'min' if duration[-1] == 'm' else duration[-1]}"


# with the real programs


def run(*command: str) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"not installed: {command[0]}")
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.deploy
def test_prometheus_accepts_the_configuration_and_the_rules() -> None:
    run("promtool", "check", "config", "prometheus.yml")
    run("promtool", "check", "rules", "--lint-fatal", "rules/ccmusic.rules.yml")


@pytest.mark.deploy
@pytest.mark.parametrize("file", sorted(CASE_FILES))
def test_the_cases_of_the_rules(file: str) -> None:
    run("promtool", "test", "rules", f"tests/{file}")


@pytest.mark.deploy
def test_the_blackbox_exporter_accepts_its_configuration() -> None:
    run("prometheus-blackbox-exporter", "--config.check", "--config.file=blackbox.yml")


def blackbox_text() -> str:
    return (FOLDER / "blackbox.yml").read_text(encoding="utf-8")


@pytest.mark.deploy
@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"status": "ok", "timestamp": 1}, 1),
        (200, b'{"status":"ok","message":""}', 1),
        (503, {"status": "error", "message": "Model is still loading..."}, 0),
        (503, {"status": "ok"}, 0),
        (200, {"status": "error", "checks": {"disk": {"status": "ok"}}}, 0),
        (200, b"<title>Please log in</title>", 0),
        (302, {"status": "ok"}, 0),
    ],
)
def test_the_probe_succeeds_only_for_200_and_ok(status: int, body: object, expected: int, tmp_path: Path) -> None:
    with stub_http(lambda *_: (status, body)) as url, real_blackbox(blackbox_text(), tmp_path) as blackbox:
        query = {"module": "http_ccmusic", "target": f"{url}/health"}
        answer = httpx.get(f"http://{blackbox}/probe", params=query, timeout=10)

    assert f"\nprobe_success {expected}\n" in answer.text


class Watched:
    """The real service as the shipped Prometheus sees it, with a scrape and an evaluation a second."""

    def __init__(self, server: RunningServer, prometheus: RealPrometheus, blackbox: str, model: Path) -> None:
        self.server = server
        self.prometheus = prometheus
        self.blackbox = blackbox
        self.model = model

    def firing(self, name: str) -> list[dict[str, Any]]:
        """Its firing alerts of a name."""
        alerts = self.prometheus.alerts()
        return [a for a in alerts if a["labels"]["alertname"] == name and a["state"] == "firing"]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    if missing := [name for name in ("prometheus", "prometheus-blackbox-exporter") if shutil.which(name) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("watched")
    model = write_model(folder / "model")
    environment = {"CCMUSIC_MODEL": str(model), "CCMUSIC_WORKERS": "1", "CCMUSIC_MANAGEMENT_PORT": "0"}
    with (
        running_server("--no-page", **environment) as server,
        real_blackbox(blackbox_text(), folder / "blackbox") as blackbox,
        real_prometheus(
            reachable(
                every(1, (FOLDER / "prometheus.yml").read_text(encoding="utf-8")),
                {"ccmusic:7860": server.url.removeprefix("http://"), "blackbox:9115": blackbox},
            ),
            folder / "prometheus",
            {"rules/ccmusic.rules.yml": every(1, RULES_TEXT)},
        ) as prometheus,
    ):
        server.wait_healthy()
        yield Watched(server, prometheus, blackbox, model)


@pytest.mark.deploy
def test_every_rule_is_evaluated_without_an_error(watched: Watched) -> None:
    def rules() -> list[dict[str, Any]]:
        return [rule for group in watched.prometheus.get("rules")["groups"] for rule in group["rules"]]

    wait_until(lambda: all(rule["health"] != "unknown" for rule in rules()), "every rule has been evaluated")

    assert len(rules()) == len(RULES)
    assert {(rule["name"], rule.get("lastError")) for rule in rules() if rule["health"] != "ok"} == set()
    assert "err=" not in watched.prometheus.log.read_text(encoding="utf-8")


@pytest.mark.deploy
def test_both_targets_are_up_in_one_job(watched: Watched) -> None:
    wait_until(lambda: len(watched.prometheus.query('up{job="ccmusic"} == 1')) == 2, "both targets are up")
    wait_until(lambda: watched.prometheus.value('probe_success{job="ccmusic"}') == 1, "the probe succeeds")

    ups = {series["metric"].get("probe"): series["metric"]["instance"] for series in watched.prometheus.query("up")}
    address = watched.server.url.removeprefix("http://")
    assert ups == {None: address, "health": f"{watched.server.url}/health"}


@pytest.mark.deploy
def test_a_real_service_has_the_series_that_the_rules_use(watched: Watched) -> None:
    wait_until(lambda: bool(watched.prometheus.query("ccmusic_self_test_age_seconds")), "the service was scraped")
    series = set(watched.prometheus.get("label/__name__/values"))
    asked = {metric for _, text in expressions() for metric in metric_names(text)}

    # this service has no graphics card, no card with a training profile and no failing check
    later = {"ccmusic_gpu_memory_used_ratio", "ccmusic_drift_statistic", "ccmusic_check_info"}
    ours = {metric for metric in asked if re.match(r"ccmusic_|http_|process_", metric)} - FOREIGN
    assert ours - later <= series


@pytest.mark.deploy
def test_ratios_are_0_and_not_empty_before_any_request(watched: Watched) -> None:
    for name in ("ccmusic:http_error_ratio:5m", "ccmusic:refused_ratio:5m", "ccmusic:failure_ratio:3d"):
        wait_until(lambda name=name: watched.prometheus.value(name) == 0, f"{name} is 0")


@pytest.mark.deploy
def test_the_queries_of_the_pages_have_results(watched: Watched) -> None:
    """Every expression, and every question to the service, the exporter and Prometheus."""
    variables = {
        "CCMUSIC": watched.server.url,
        "MANAGEMENT": str(watched.server.management),
        "PROMETHEUS": watched.prometheus.url,
        "BLACKBOX": f"http://{watched.blackbox}",
    }
    n_asked = 0
    for name in NAMES:
        for expression in "".join(blocks(page(name), "promql")).splitlines():
            watched.prometheus.query(expression)
        for line in "".join(blocks(page(name), "sh")).splitlines():
            if "curl" not in line or re.search(r"\$(TOKEN|ALERTMANAGER|BRIDGE)", line):
                continue
            command = ["bash", "-o", "pipefail", "-c", line]
            done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)
            nothing_wrong = "lastError" in line and done.returncode == 1  # grep found none
            assert (done.returncode == 0 and done.stdout) or nothing_wrong, f"{line}: {done.stderr}"
            n_asked += 1
    assert n_asked > 15


@pytest.mark.deploy
@pytest.mark.skipif(not os.environ.get("CCMUSIC_TEST_PRODUCTION_TIMES"), reason="takes the times as shipped")
def test_nothing_fires_but_the_watchdog_until_the_model_is_gone(watched: Watched) -> None:
    wait_until(lambda: bool(watched.firing(ALWAYS_FIRES)), "the watchdog fires")
    wait_until(lambda: watched.prometheus.value('probe_success{job="ccmusic"}') == 1, "the probe succeeds")
    assert {a["labels"]["alertname"] for a in watched.prometheus.alerts() if a["state"] == "firing"} == {ALWAYS_FIRES}

    file = watched.model / yaml.safe_load((watched.model / "card.json").read_text())["file"]
    file.rename(file.with_suffix(".away"))
    try:
        wait_until(lambda: bool(watched.firing("CcmusicRed")), "CcmusicRed fires")
        wait_until(lambda: bool(watched.firing("CcmusicProbeFails")), "CcmusicProbeFails fires")
        (red,) = watched.firing("CcmusicRed")
        (probe,) = watched.firing("CcmusicProbeFails")
    finally:
        file.with_suffix(".away").rename(file)

    assert red["labels"]["check"] == "model_file"
    assert str(file) in red["annotations"]["description"]
    assert str(file) in red["annotations"]["description_zh"]
    assert red["annotations"]["runbook_url"] == CONFIG["global"]["external_labels"]["runbooks"] + "/CcmusicRed.md"
    assert "status 503" in probe["annotations"]["description"]
    assert watched.firing("CcmusicNotReady") == []  # what is loaded goes on answering
    wait_until(lambda: not watched.firing("CcmusicRed"), "CcmusicRed has ended")
