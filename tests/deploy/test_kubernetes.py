"""The manifests: they build, they fit their schemas, and they keep to what is promised of them.

Needs kubectl or kustomize. The kinds of other projects (Prometheus operator, Argo Rollouts) have no schema in
kubernetes-validate: they are checked here field by field, and against those projects' types where
CCMUSIC_TEST_NODE_MODULES names the node_modules of a directory in which `npm install
@kubernetes-models/prometheus-operator @kubernetes-models/argo-rollouts@2 typescript` was done.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

import ccmusic
from ccmusic.commands.exit_codes import ExitCode
from ccmusic.settings import Settings
from ccmusic.ui.mount import CANCEL_SECONDS
from deploy.kubelet import KINDS, read_container
from support.running_server import RunningServer, running_server

pytestmark = pytest.mark.deploy

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "deploy" / "kubernetes"
OVERLAYS = sorted(path.name for path in (MANIFESTS / "overlays").iterdir())
COMPONENTS = ["monitoring", "hpa", "canary", "single-probe", "sleep-action", "own-model"]
BUILDS = [f"overlays/{name}" for name in OVERLAYS] + COMPONENTS
FOREIGN = {"ServiceMonitor", "PrometheusRule", "Probe", "Rollout", "AnalysisTemplate"}
VERSIONS = ["1.27.0", "1.30.0", ""]
"""Kubernetes: the oldest that knows every field of the base, the oldest that knows all, the validator's newest."""
SINGLE_PROBE = {
    "httpGet": {"path": "/health", "port": 7860},
    "initialDelaySeconds": 30,
    "periodSeconds": 10,
    "timeoutSeconds": 5,
    "failureThreshold": 3,
}
MAX_RESTART_SECONDS = 30.0
LOOP_IS_KNOWN_SECONDS = 3.0
"""Bound of row P7 of the fault matrix: a blocked HTTP loop until /livez says so."""


def kustomize(directory: Path) -> list[dict[str, Any]]:
    """Every resource of a kustomization."""
    for command in (["kubectl", "kustomize"], ["kustomize", "build"]):
        if shutil.which(command[0]):
            done = subprocess.run([*command, str(directory)], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            return list(yaml.safe_load_all(done.stdout))
    pytest.skip("neither kubectl nor kustomize is installed")


@cache
def built(name: str) -> tuple[dict[str, Any], ...]:
    """What is applied: an overlay, or the overlay for processors with components (`hpa`, `canary+hpa`)."""
    if name.startswith("overlays/"):
        return tuple(kustomize(MANIFESTS / name))
    with tempfile.TemporaryDirectory() as directory:
        there = Path(os.path.relpath(MANIFESTS.resolve(), Path(directory).resolve()))
        with_components = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [str(there / "overlays" / "cpu")],
            "components": [str(there / component) for component in name.split("+")],
            "images": [{"name": "ccmusic", "newTag": ccmusic.__version__}],
        }
        Path(directory, "kustomization.yaml").write_text(yaml.safe_dump(with_components))
        return tuple(kustomize(Path(directory)))


def of_kind(name: str, kind: str) -> list[dict[str, Any]]:
    return [resource for resource in built(name) if resource["kind"] == kind]


def deployment(name: str) -> dict[str, Any]:
    (found,) = of_kind(name, "Deployment")
    return found


def pod_templates(name: str) -> list[tuple[str, dict[str, Any]]]:
    """Every pod template, those within analyses too, by the name of its resource."""
    found = []

    def search(resource: str, value: Any) -> None:
        if isinstance(value, dict):
            if "containers" in value.get("spec", {}) if isinstance(value.get("spec"), dict) else False:
                found.append((resource, value))
            for inner in value.values():
                search(resource, inner)
        elif isinstance(value, list):
            for inner in value:
                search(resource, inner)

    for resource in built(name):
        search(f"{resource['kind']}/{resource['metadata']['name']}", resource)
    return found


def seconds(container: dict[str, Any], setting: str, settings: dict[str, str]) -> float:
    written = {entry["name"]: entry.get("value") for entry in container.get("env", [])}
    value = written.get(setting) or settings.get(setting)
    return float(value) if value else float(Settings.model_fields[setting.removeprefix("CCMUSIC_").lower()].default)


def shipped_settings(name: str) -> dict[str, str]:
    (found,) = of_kind(name, "ConfigMap")
    return found["data"]


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    """The service, with its management port."""
    with running_server("--no-page", CCMUSIC_WORKERS="1", CCMUSIC_MANAGEMENT_PORT="0") as started:
        started.wait_healthy()
        yield started


@pytest.fixture(scope="module")
def metrics(server: RunningServer) -> set[str]:
    """Names of the series of a running service."""
    text = httpx.get(f"{server.url}/metrics", timeout=10).text
    return set(re.findall(r"^(\w+)(?:\{| )", text, re.MULTILINE))


# schemas


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", BUILDS)
def test_every_built_in_kind_fits_its_schema(name, version):
    if importlib.util.find_spec("kubernetes_validate") is None:
        pytest.skip("kubernetes-validate is not installed")
    import kubernetes_validate

    version = version or kubernetes_validate.latest_version()
    if name == "sleep-action" and version == "1.27.0":
        pytest.skip("the sleep action is younger")
    for resource in built(name):
        if resource["kind"] not in FOREIGN:
            kubernetes_validate.validate(resource, version, strict=True)


def test_the_validator_would_notice():
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    wrong = json.loads(json.dumps(deployment("overlays/cpu")))
    wrong["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["periodSecond"] = 5
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("name", ["overlays/canary", "overlays/complete"])
def test_foreign_kinds_fit_the_types_of_their_projects(name, tmp_path):
    modules = os.environ.get("CCMUSIC_TEST_NODE_MODULES")
    if not modules or not shutil.which("node"):
        pytest.skip("CCMUSIC_TEST_NODE_MODULES names no directory of node modules")
    (tmp_path / "node_modules").symlink_to(modules)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    foreign = [resource for resource in built(name) if resource["kind"] in FOREIGN]
    assert foreign
    lines, checks = [], []
    for number, resource in enumerate(foreign):
        kind = resource["kind"]
        argo = resource["apiVersion"].startswith("argoproj.io")
        source = "argo-rollouts/argoproj.io/v1alpha1" if argo else "prometheus-operator/monitoring.coreos.com/v1"
        lines += [
            f'import {{ {kind} as K{number}, I{kind} as I{number} }} from "@kubernetes-models/{source}";',
            # a literal of a type may have no field that the type has not
            f"export const r{number}: I{number} = {json.dumps(resource)};",
        ]
        checks += [
            f'import {{ {kind} as K{number} }} from "@kubernetes-models/{source}";',
            f"new K{number}({json.dumps(resource)}).validate();",
        ]
    (tmp_path / "types.ts").write_text("\n".join(lines))
    (tmp_path / "check.js").write_text("\n".join(checks))
    options = ["--noEmit", "--skipLibCheck", "--target", "es2022", "--module", "nodenext", "types.ts"]
    compiler = Path(modules) / ".bin" / "tsc"
    for command in (["node", "check.js"], ["node", str(compiler.resolve()), *options]):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


# what every pod keeps to


@pytest.mark.parametrize("name", BUILDS)
def test_every_container_has_limits_and_least_privileges(name):
    templates = pod_templates(name)
    assert templates
    for where, template in templates:
        pod = template["spec"]
        assert pod["automountServiceAccountToken"] is False, where
        assert pod["enableServiceLinks"] is False, where
        assert pod["securityContext"]["runAsNonRoot"] is True, where
        assert pod["securityContext"]["runAsUser"] > 0, where
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, where
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), where
        assert all(
            {"emptyDir", "secret", "configMap", "persistentVolumeClaim"} & set(v) for v in pod.get("volumes", [])
        )
        for container in (*pod["containers"], *pod.get("initContainers", [])):
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True, where
            assert context["allowPrivilegeEscalation"] is False, where
            assert context["capabilities"] == {"drop": ["ALL"]}, where
            limits, requests = container["resources"]["limits"], container["resources"]["requests"]
            assert {"cpu", "memory"} <= set(limits) & set(requests), where
            image = container["image"]
            assert re.fullmatch(rf"ccmusic:{re.escape(ccmusic.__version__)}", image), image


@pytest.mark.parametrize("name", BUILDS)
def test_probes_use_existing_paths_and_ports(name, server):
    written = deployment(name)["spec"]["template"]["spec"]["containers"][0]
    container = read_container(deployment(name))
    ports = {port["containerPort"] for port in written["ports"]}
    assert ports == {7860, int(shipped_settings(name)["CCMUSIC_MANAGEMENT_PORT"])}
    for probe in container.probes.values():
        assert probe.port in ports
        base = server.url if probe.port == 7860 else server.management
        assert httpx.get(base + probe.path, timeout=10).status_code == 200, probe.path
    if name == "single-probe":
        assert set(container.probes) == {"liveness", "readiness"}
        assert written["livenessProbe"] == SINGLE_PROBE
    else:
        assert set(container.probes) == set(KINDS)
        assert [container.probes[kind].path for kind in KINDS] == ["/startupz", "/livez", "/readyz"]
        assert {probe.port for probe in container.probes.values()} == {7862}


@pytest.mark.parametrize("name", BUILDS)
def test_grace_covers_the_drain_and_a_hung_process_is_back_in_time(name):
    pod = deployment(name)["spec"]["template"]["spec"]
    container = read_container(deployment(name))
    written, settings = pod["containers"][0], shipped_settings(name)
    drain = seconds(written, "CCMUSIC_DRAIN_SECONDS", settings)
    linger = seconds(written, "CCMUSIC_DRAIN_LINGER_SECONDS", settings)
    last_connections, workers = 10, 5  # serving.server.END_SECONDS, Supervisor.stop
    page = seconds(written, "CCMUSIC_PAGE_STOP_SECONDS", settings) + CANCEL_SECONDS
    assert container.pre_stop_seconds >= 5
    assert container.grace_seconds >= container.pre_stop_seconds + linger + drain + last_connections + page + workers
    assert drain >= seconds(written, "CCMUSIC_MAX_WAIT_SECONDS", settings), "what may wait is answered"
    if name != "single-probe":
        alive = container.probes["liveness"]
        silent, red = alive.silent_seconds, alive.red_seconds + LOOP_IS_KNOWN_SECONDS
        assert max(silent, red) + container.grace_after("liveness") <= MAX_RESTART_SECONDS
        assert container.probes["startup"].red_seconds > 3 * seconds(written, "CCMUSIC_LOAD_TIMEOUT_SECONDS", settings)


@pytest.mark.parametrize("name", BUILDS)
def test_settings_are_known_and_allowed(name, monkeypatch):
    container = deployment(name)["spec"]["template"]["spec"]["containers"][0]
    names = {"CCMUSIC_WORKERS": "2"}
    names |= {e["name"]: e["value"] for e in container["env"] if "value" in e and e["name"].startswith("CCMUSIC_")}
    for key, value in (shipped_settings(name) | names).items():
        assert key.removeprefix("CCMUSIC_").lower() in Settings.model_fields, key
        monkeypatch.setenv(key, value)
    settings = Settings()
    assert settings.management_port == 7862
    limit = container["resources"]["limits"]["memory"]
    assert limit.endswith("Gi")
    workers = int(container["resources"]["limits"]["cpu"])
    grown = workers * settings.recycle_growth_bytes
    assert 1.7 * 2**30 + grown <= int(limit[:-2]) * 2**30, "an hour of sound in each worker, and all it may grow by"
    (workers_entry,) = [entry for entry in container["env"] if entry["name"] == "CCMUSIC_WORKERS"]
    if name == "overlays/gpu":
        assert workers_entry == {"name": "CCMUSIC_WORKERS", "value": "1"}
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    else:
        reference = workers_entry["valueFrom"]["resourceFieldRef"]
        assert (reference["resource"], reference["divisor"]) == ("limits.cpu", "1")


# who belongs to whom


@pytest.mark.parametrize("name", BUILDS)
def test_every_selector_finds_the_pods(name):
    template = deployment(name)["spec"]["template"]
    labels = template["metadata"]["labels"].items()
    ports = {port["name"]: port["containerPort"] for port in template["spec"]["containers"][0]["ports"]}
    assert deployment(name)["spec"]["selector"]["matchLabels"].items() <= labels
    for service in of_kind(name, "Service"):
        assert service["spec"]["selector"].items() <= labels, service["metadata"]["name"]
        for port in service["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"]
    for budget in of_kind(name, "PodDisruptionBudget"):
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels
    for policy in of_kind(name, "NetworkPolicy"):
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels
        allowed = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        assert allowed <= set(ports.values())
    for constraint in template["spec"]["topologySpreadConstraints"]:
        assert constraint["labelSelector"]["matchLabels"].items() <= labels
    for _, other in pod_templates(name)[1:]:
        assert not deployment(name)["spec"]["selector"]["matchLabels"].items() <= other["metadata"]["labels"].items()
    assert {resource["metadata"].get("namespace", "ccmusic") for resource in built(name)} == {"ccmusic"}


def test_only_dns_queries_go_out():
    (policy,) = of_kind("overlays/cpu", "NetworkPolicy")
    assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    assert {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]} == {53}
    management = [rule for rule in policy["spec"]["ingress"] if any(port["port"] == 7862 for port in rule["ports"])]
    (rule,) = management
    (source,) = rule["from"]
    assert source["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}


def test_two_replicas_one_disrupted_at_a_time():
    found = deployment("overlays/cpu")["spec"]
    (budget,) = of_kind("overlays/cpu", "PodDisruptionBudget")
    assert found["replicas"] == 2
    assert found["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert budget["spec"]["maxUnavailable"] == 1


@pytest.mark.parametrize("name", ["hpa", "canary", "overlays/canary", "overlays/complete"])
def test_the_manifest_leaves_replicas_to_the_autoscaler(name):
    assert "replicas" not in deployment(name)["spec"]


# monitoring


def test_the_rules_are_those_of_prometheus():
    path = MANIFESTS / "monitoring" / "make_prometheus_rule.py"
    spec = importlib.util.spec_from_file_location("make_prometheus_rule", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    source = module.RULES.read_text(encoding="utf-8")
    assert module.RESULT.read_text(encoding="utf-8") == module.prometheus_rule(source), f"run {path.relative_to(ROOT)}"
    (rule,) = of_kind("monitoring", "PrometheusRule")
    assert rule["spec"]["groups"] == yaml.safe_load(source)["groups"]


def test_the_job_is_ccmusic():
    (monitor,) = of_kind("monitoring", "ServiceMonitor")
    (probe,) = of_kind("monitoring", "Probe")
    services = [
        service
        for service in of_kind("monitoring", "Service")
        if monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    ]
    (service,) = services  # of two, every pod would be scraped twice
    assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "ccmusic"
    assert service["spec"]["publishNotReadyAddresses"] is True
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert probe["spec"]["jobName"] == "ccmusic"
    (target,) = probe["spec"]["targets"]["staticConfig"]["static"]
    assert target == "http://ccmusic.ccmusic.svc:7860/health"


def test_the_prober_has_the_module():
    configured = ROOT / "deploy" / "prometheus" / "blackbox.yml"
    if not configured.exists():
        pytest.skip("no configuration of the blackbox exporter is shipped")
    (probe,) = of_kind("monitoring", "Probe")
    assert probe["spec"]["module"] in yaml.safe_load(configured.read_text())["modules"]


def test_the_autoscalers_metric_is_exposed(metrics, tmp_path):
    (autoscaler,) = of_kind("hpa", "HorizontalPodAutoscaler")
    adapter = yaml.safe_load((MANIFESTS / "hpa" / "prometheus-adapter.yaml").read_text())
    offered, expressions = set(), []
    for rule in adapter["rules"]["custom"]:
        series = re.match(r"\w+", rule["seriesQuery"])[0]
        offered.add(rule.get("name", {}).get("as", series))
        query = rule["metricsQuery"].replace("<<.Series>>", series).replace("<<.GroupBy>>", "pod")
        expressions.append(query.replace("<<.LabelMatchers>>", 'namespace="ccmusic"'))
        assert set(re.findall(r"ccmusic_\w+", query)) <= metrics, query
    wanted = {metric["pods"]["metric"]["name"] for metric in autoscaler["spec"]["metrics"]}
    assert wanted == offered
    assert "Resource" not in {metric["type"] for metric in autoscaler["spec"]["metrics"]}
    assert autoscaler["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] >= 300
    _check_expressions(expressions, tmp_path)


def _check_expressions(expressions: list[str], directory: Path) -> None:
    """Prometheus' own parser has nothing against them."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    rules = [{"record": f"check:{number}", "expr": expression} for number, expression in enumerate(expressions)]
    file = directory / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "check", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# canary


def test_the_rollout_uses_the_deployments_pods_and_its_analyses_exist():
    (rollout,) = of_kind("canary", "Rollout")
    assert rollout["spec"]["workloadRef"]["name"] == deployment("canary")["metadata"]["name"]
    assert rollout["spec"]["selector"] == deployment("canary")["spec"]["selector"]
    strategy = rollout["spec"]["strategy"]["canary"]
    services = {service["metadata"]["name"] for service in of_kind("canary", "Service")}
    assert {strategy["canaryService"], strategy["stableService"]} <= services
    templates = {template["metadata"]["name"]: template for template in of_kind("canary", "AnalysisTemplate")}
    analyses = [strategy["analysis"], *(step["analysis"] for step in strategy["steps"] if "analysis" in step)]
    assert {template["templateName"] for analysis in analyses for template in analysis["templates"]} == set(templates)
    for analysis in analyses:
        given = {argument["name"] for argument in analysis["args"]}
        for used in analysis["templates"]:
            wanted = {a["name"] for a in templates[used["templateName"]]["spec"]["args"] if "value" not in a}
            assert wanted <= given
    first = next(index for index, step in enumerate(strategy["steps"]) if "analysis" in step)
    assert all(step.get("setWeight", 0) <= 20 for step in strategy["steps"][:first]), (
        "the gate comes before more traffic"
    )


@pytest.mark.parametrize(("name", "kind"), [("hpa", "Deployment"), ("hpa+canary", "Rollout")])
def test_the_autoscaler_scales_what_holds_the_pods(name, kind):
    (autoscaler,) = of_kind(name, "HorizontalPodAutoscaler")
    assert autoscaler["spec"]["scaleTargetRef"]["kind"] == kind


def _analysis(name: str) -> dict[str, Any]:
    (found,) = [t for t in of_kind("canary", "AnalysisTemplate") if t["metadata"]["name"] == name]
    (metric,) = found["spec"]["metrics"]
    return metric


def test_the_gate_passes_a_good_service_and_fails_without_one(server):
    (container,) = _analysis("ccmusic-gate")["provider"]["job"]["spec"]["template"]["spec"]["containers"]
    written = container["command"]
    (url,) = [word for word in written if word.startswith("http")]
    assert url == "http://{{args.service}}.ccmusic.svc:7860"
    assert _run([server.url if word == url else word for word in written]) == 0
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        closed = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        assert _run([closed if word == url else word.replace("240", "1") for word in written]) == ExitCode.UNREACHABLE


def _run(command: list[str]) -> int:
    program, *arguments = command
    assert program == "ccmusic"
    return subprocess.run(
        [sys.executable, "-m", "ccmusic.cli", *arguments], check=False, capture_output=True
    ).returncode


def test_the_health_measurement_reads_our_health(server):
    metric = _analysis("ccmusic-health")
    assert metric["provider"]["web"]["jsonPath"] == "{$.status}"
    assert metric["successCondition"] == 'result == "ok"'
    assert server.health().json()["status"] == "ok"


def test_the_error_measurement_uses_existing_metrics(metrics, tmp_path):
    query = _analysis("ccmusic-errors")["provider"]["prometheus"]["query"]
    assert set(re.findall(r"(\w+)\{", query)) <= metrics
    _check_expressions([query.replace("{{args.pods}}", "6cgf")], tmp_path)
