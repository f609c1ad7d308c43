"""The Dockerfile's steps executed, what they make run as in a container, and Compose's file against what it names."""

import ast
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import yaml

from deploy.dockerfile import Stage, build, context, instructions, python_prefix
from support.ports import free_port
from support.recordings import tone, wav
from support.waiting import PATIENCE_SECONDS, wait_until

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "deploy/docker"
DOCKERFILE = DOCKER / "Dockerfile"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]
ours_alone = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and mount namespaces"
)


# the context


@pytest.fixture(scope="module")
def seen():
    return context(ROOT, (ROOT / ".dockerignore").read_text())


def test_the_context_has_only_what_the_image_needs(seen):
    names = {str(file) for file in seen}
    locks = {f"requirements/{face}.txt" for face in ("page", "serve", "base")}
    assert {"pyproject.toml", "README.md", "LICENSE", *locks} <= names
    assert {name.split("/")[0] for name in names if "/" in name} == {"requirements", "src", "examples", "deploy"}
    assert {name for name in names if name.startswith("deploy/")} == {"deploy/docker/build.txt"}
    assert {Path(name).suffix for name in names if name.startswith("examples/")} == {".ogg", ".json"}
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".env", ".example"))]
    assert sum((ROOT / name).stat().st_size for name in names) < 16 * 2**20


# the image


@dataclass
class Running:
    """A started container, so to speak."""

    stage: Stage
    process: subprocess.Popen[bytes]
    url: str
    environment: dict[str, str]

    @property
    def pid(self) -> int:
        """Of the service itself: what was started has become it, by way of exec."""
        return self.process.pid

    def checked(self) -> int:
        """Exit code of the image's HEALTHCHECK."""
        command = self.stage.argv(self.stage.healthcheck, self.environment)
        return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode


# each takes most of a minute; the short run has the one that most people take
FACES = ["page", "serve"] if os.environ.get("CCMUSIC_TEST_PRODUCTION_TIMES") else ["page"]


@pytest.fixture(scope="module", params=FACES)
def image(request, seen):
    stage = build(DOCKERFILE, ROOT, seen, python_prefix("3.12"), FACE=request.param, VERSION="9.9")
    stage.freeze()
    yield stage
    stage.namespace.close()


@contextmanager
def container(stage: Stage, *words: str, **environment: str) -> Iterator[Running]:
    port = free_port()
    environment |= {"CCMUSIC_PORT": str(port), "CCMUSIC_WORKERS": "1", "CCMUSIC_DRAIN_LINGER_SECONDS": "0"}
    command = stage.argv([*stage.entrypoint, *(words or stage.command)], environment)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    running = Running(stage, process, f"http://127.0.0.1:{port}", environment)
    try:
        yield running
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
        process.send_signal(getattr(signal, stage.stop_signal))
        try:
            process.wait(60)
        finally:
            process.kill()


def healthy(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    return False


def page_is_open(url: str) -> bool:
    return httpx.get(f"{url}/config", timeout=10).status_code == 200


@ours_alone
def test_the_install_serves_from_a_read_only_root_as_a_user_without_a_name(image):
    has_page = image.arguments.get("FACE", "page") == "page" and _installed(image, "gradio")
    with container(image, CCMUSIC_FAULT_INJECTION="true", CCMUSIC_ADMIN_TOKEN="drill") as running:
        wait_until(lambda: healthy(running.url), "it is green", 120)
        assert running.checked() == 0
        status = Path(f"/proc/{running.pid}/status").read_text()
        assert re.search(r"^Uid:\t10001\t10001\t10001", status, re.MULTILINE)
        assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
        song = {"audio": wav(tone(440, 3.0))}
        assert httpx.post(f"{running.url}/v1/classify", files=song, timeout=60).status_code == 200
        if has_page:
            wait_until(lambda: page_is_open(running.url), "the page is open")
        else:
            assert "page</code> is not installed" in httpx.get(running.url).text
        # red, and green again
        admin = {"authorization": "Bearer drill"}
        httpx.post(f"{running.url}/debug/faults/block-loop?size=12", headers=admin).raise_for_status()
        wait_until(lambda: running.checked() != 0, "the loop is blocked")
        wait_until(lambda: healthy(running.url), "the loop is free again")
        assert running.checked() == 0
        running.process.send_signal(signal.SIGSTOP)
        assert running.checked() != 0
        running.process.send_signal(signal.SIGCONT)
        wait_until(lambda: running.checked() == 0, "it goes on")
        running.process.send_signal(getattr(signal, image.stop_signal))
        assert running.process.wait(60) == 0
    assert running.checked() != 0, "nobody is there any more"


@ours_alone
def test_the_command_line_is_the_entry(image):
    said = subprocess.run(image.argv([*image.entrypoint, "--version"]), capture_output=True, text=True, check=True)
    assert said.stdout.startswith("ccmusic ")


@ours_alone
def test_the_contents_of_the_install(image, capsys):
    run = image.namespace.run
    root = f"{image.root}/opt/ccmusic"
    megabytes = int(run("du", "-sm", root).split()[0])
    with capsys.disabled():
        version = subprocess.run(
            image.argv(["python", "-V"]), capture_output=True, text=True, check=True
        ).stdout.strip()
        print(
            f"\n/opt/ccmusic: {megabytes} MB {'with' if _installed(image, 'gradio') else 'without'} the page, {version}"
        )
    assert not run("find", root, "-name", "pip", "-maxdepth", "5").strip(), "pip is not in it"
    sources = {name for name in run("find", f"{root}/lib", "-name", "*.py").split("\n") if name}
    compiled = [Path(name) for name in run("find", f"{root}/lib", "-name", "*.pyc").split("\n") if name]
    assert sources == {str(c.parent.parent / c.name.partition(".cpython-")[0]) + ".py" for c in compiled}
    # flags 1: valid without a look at the source's date
    one = next(path for path in compiled if path.match("ccmusic/__pycache__/cli.*"))
    assert run("sh", "-c", f"od -An -tu4 -j4 -N4 {one}").strip() == "1"
    assert run("find", root, "!", "-user", "0").strip() == "", "its user cannot change it"
    done = subprocess.run(image.argv(["touch", "/opt/ccmusic/x"]), capture_output=True, check=False)
    assert done.returncode != 0


def _installed(image: Stage, package: str) -> bool:
    return (
        image.namespace.run("sh", "-c", f"ls -d {image.root}/opt/ccmusic/lib/*/site-packages/{package} || true").strip()
        != ""
    )


@ours_alone
def test_the_labels_of_the_image(image):
    assert image.labels["org.opencontainers.image.version"] == "9.9"
    assert image.user == "10001:10001"
    assert image.ports == ["7860"]
    assert image.stop_signal == "SIGTERM"


def test_the_linter_reports_nothing():
    linter = Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run([linter, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_base_has_a_full_version_and_every_step_is_known():
    (_, base), *steps = instructions(DOCKERFILE.read_text())
    assert re.fullmatch(r"PYTHON=python:3\.12\.\d+-slim-\w+", base)
    assert [rest for name, rest in steps if name == "FROM"] == ["${PYTHON} AS build", "${PYTHON}"]
    runs = [rest for name, rest in steps if name == "RUN"]
    for run in runs:
        for install in re.findall(r"pip (?:--python \S+ )?install [^&]*", run):
            assert "--require-hashes" in install or "--no-deps" in install
    assert "RUN" not in [name for name, _ in steps[[i for i, s in enumerate(steps) if s[0] == "FROM"][1] :]]


def instruction(name: str) -> str:
    (rest,) = [rest for known, rest in instructions(DOCKERFILE.read_text()) if known == name]
    return rest


@pytest.mark.parametrize("of_a_service", [False, True])
def test_the_health_check_finds_the_port_as_the_settings_do(of_a_service):
    class Live(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/livez" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Live) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        _, *words = json.loads(instruction("HEALTHCHECK").partition(" CMD ")[2])
        if of_a_service:  # Kubernetes sets it for a Service named ccmusic; the default is in use then
            words[-1] = words[-1].replace("7860", str(server.server_port))
        port = "tcp://10.0.0.1:7861" if of_a_service else str(server.server_port)
        checked = subprocess.run([sys.executable, *words], env=os.environ | {"CCMUSIC_PORT": port}, check=False)
        server.shutdown()
    assert checked.returncode == 0


@ours_alone
def test_a_stop_before_python_runs_is_not_lost():
    alone = ("unshare", "--pid", "--fork", "--kill-child")
    *entry, program = json.loads(instruction("ENTRYPOINT"))
    assert program == "ccmusic"
    before = ("sh", "-c", 'echo started; exec "$@"', "-")
    service = (sys.executable, "-m", "ccmusic.cli", "serve", "--no-page", "--host", "127.0.0.1", "--port", "0")
    process = subprocess.Popen([*alone, *entry, *before, *service], stdout=subprocess.PIPE, text=True)
    with process:  # which closes its pipe
        try:
            assert process.stdout.readline() == "started\n"
            first = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            os.kill(int(first), getattr(signal, instruction("STOPSIGNAL")))
            assert process.wait(PATIENCE_SECONDS) == 0
        finally:
            process.kill()


# Compose


def mounts(service: dict) -> list[tuple[Path, str]]:
    """Paths of this repository that a service mounts, and where."""
    pairs = [volume.split(":") for volume in service.get("volumes", [])]
    return [((DOCKER / source).resolve(), target) for source, target, *_ in pairs if source.startswith(".")]


def named_volumes(service: dict) -> set[str]:
    return {v.split(":")[0] for v in service.get("volumes", []) if not v.startswith(".")}


def test_compose_accepts_its_file(tmp_path):
    compose = shutil.which("docker-compose")
    if compose is None:
        pytest.skip("docker-compose is not installed")
    text = (DOCKER / "compose.yaml").read_text()
    if "1.29" in subprocess.run([compose, "version", "--short"], capture_output=True, text=True, check=True).stdout:
        text = re.sub(r"^name: .*\n", "", text, flags=re.MULTILINE)  # younger than that version
    (tmp_path / "compose.yaml").write_text(text)
    command = [compose, "--project-directory", str(DOCKER), "-f", str(tmp_path / "compose.yaml"), "config"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(yaml.safe_load(done.stdout)["services"]) == set(SERVICES)


def test_every_mount_exists_and_is_read_only():
    for name, service in SERVICES.items():
        for source, _ in mounts(service):
            assert source.exists(), f"{name} mounts {source}, which is not there"
        for volume in service.get("volumes", []):
            assert volume.endswith(":ro") == volume.startswith("."), volume
    used = set().union(*(named_volumes(service) for service in SERVICES.values()))
    assert used == set(COMPOSE["volumes"])


def test_every_named_configuration_is_mounted():
    for name, service in SERVICES.items():
        for word in service.get("command", []):
            if "--config.file=" not in word:
                continue
            path = word.partition("=")[2]
            found = [
                source / Path(path).relative_to(target) if source.is_dir() else source
                for source, target in mounts(service)
                if path.startswith(target)
            ]
            assert found, f"{name}: {path} is in no mount"
            assert found[0].is_file(), f"{name}: {found[0]} is not there"


def test_every_secret_is_declared_used_and_has_an_example_that_the_user_may_read():
    used = set().union(*(service.get("secrets", []) for service in SERVICES.values()))
    assert used == set(COMPOSE["secrets"])
    for name, secret in COMPOSE["secrets"].items():
        default = re.fullmatch(r"\$\{\w+:-(.+)\}", secret["file"])[1]
        example = DOCKER / default
        assert example.is_file(), f"without {default} nothing comes up"
        assert stat.S_IMODE(example.stat().st_mode) & 0o004, "another user reads it inside"
        assert name in (DOCKER / "secrets/README.md").read_text()
    told = "\n".join(str(service.get("command")) + str(service.get("environment")) for service in SERVICES.values())
    elsewhere = (ROOT / "deploy/alertmanager/alertmanager.yml").read_text()
    for path in re.findall(r"/run/secrets/(\w+)", told + re.sub("#.*", "", elsewhere)):
        assert path in COMPOSE["secrets"]


def addresses() -> set[tuple[str, int]]:
    """Host and port of every address in the configuration of Prometheus, Alertmanager and Grafana."""
    files = [
        *(ROOT / "deploy/prometheus").glob("*.yml"),
        ROOT / "deploy/alertmanager/alertmanager.yml",
        *(ROOT / "deploy/grafana/provisioning").rglob("*.y*ml"),
    ]
    found = set()
    for file in files:
        for line in file.read_text().splitlines():
            bare = line.split("#")[0]
            found |= {(h, int(p)) for h, p in re.findall(r"\b([a-z][a-z0-9.-]*):(\d{2,5})\b", bare)}
    return {(host, port) for host, port in found if not host.endswith(("example.com", "example.org"))}


def test_every_address_in_the_configuration_is_a_service_here():
    found = addresses()
    assert {host for host, _ in found} == set(SERVICES) - {"grafana"}, found
    for host, port in found:
        service = SERVICES[host]
        published = json.dumps(service.get("ports", []) + service.get("expose", []))
        assert str(port) in published, f"{host} does not answer on {port}"


def test_only_the_service_can_be_reached_from_other_machines():
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert port == "7860:7860" if name == "ccmusic" else port.startswith("127.0.0.1:"), (name, port)


def test_every_container_is_confined_checked_and_limited():
    for name, service in SERVICES.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == "unless-stopped", name
        assert {"mem_limit", "cpus", "pids_limit", "healthcheck"} <= set(service), name
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", service["image"]), f"{name}: {service['image']}"
        for other, how in service.get("depends_on", {}).items():
            assert other in SERVICES
            assert how["condition"] != "service_healthy" or "healthcheck" in SERVICES[other]
    assert "depends_on" not in SERVICES["prometheus"], "it is wanted most when the others are not there"


def test_the_stop_grace_period_covers_the_drain():
    from ccmusic.serving.server import latest_end_seconds
    from ccmusic.settings import Settings

    assert int(SERVICES["ccmusic"]["stop_grace_period"].removesuffix("s")) > latest_end_seconds(Settings())


def test_the_checks_in_the_file_are_python(tmp_path):
    for service in SERVICES.values():
        test = service["healthcheck"]["test"]
        if test[1] == "python":
            ast.parse(test[-1])
        else:
            assert test[:3] == ["CMD", "wget", "-q"]
