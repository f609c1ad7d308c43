"""Pictures of the shipped dashboards from real data: the service under traffic, an incident, and a real Prometheus.

    python bench/dashboard.py [--minutes 12] [--data FILE] [--images docs/images]

No Grafana is needed, and none draws here: the panels are drawn by `dashboard_page.py` from the dashboards' own JSON
(grid, titles, units, colours, limits) and from what Prometheus answers to their queries, and the pictures say so. With
`--data` the answers are kept in FILE, and drawn from it when it is there already.

The incident, in shares of the time: a worker is killed (0.2), the model file is renamed and put back (0.35 to 0.5),
more clients come than the queue holds (0.65 to 0.72). Needs prometheus, prometheus-blackbox-exporter, chromium, and a
font that has Chinese (Debian: fonts-noto-cjk).
"""

from __future__ import annotations

import argparse
import datetime
import http.client
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from load import machine
from tqdm import tqdm

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from dashboard_page import draw  # noqa: E402

from ccmusic.models.store import EMBEDDED_DIRECTORY  # noqa: E402
from deploy.dashboards import Window, dashboards, panels  # noqa: E402
from deploy.real_prometheus import RealPrometheus, every, reachable, real_blackbox, real_prometheus  # noqa: E402
from support.running_server import RunningServer, running_server  # noqa: E402

SCRAPE_SECONDS = 5
N_POINTS = 150
N_CLIENTS, N_BURST = 2, 60
MAX_QUEUE = 16
AMID = 0.48
"""The share of the time at which the model file has been away for a while."""
PAUSE_SECONDS = 0.35
BURST_PAUSE_SECONDS = 0.8
"""Mean pauses of a client between two recordings."""
BROKEN = (b"this is no music", b"", b"RIFF\x24\x00\x00\x00WAVEfmt ")


def clips(n: int, seed: int = 7) -> list[bytes]:
    """Cuts of the shipped examples, of 1 to 12 s, as people would send them; some silent."""
    choose = np.random.default_rng(seed)
    examples = [soundfile.read(path, dtype="float32") for path in sorted((ROOT / "examples").glob("*.ogg"))]
    found = []
    for _ in range(n):
        waveform, sample_rate = examples[choose.integers(len(examples))]
        length = int(choose.uniform(1, 12) * sample_rate)
        start = choose.integers(max(1, len(waveform) - length))
        cut = waveform[start : start + length] * (0.0 if choose.random() < 0.03 else choose.uniform(0.2, 1.0))
        buffer = io.BytesIO()
        soundfile.write(buffer, cut, sample_rate, format="OGG", subtype="VORBIS")
        found.append(buffer.getvalue())
    return found


@contextmanager
def clients(address: str, n: int, recordings: list[bytes], pause_seconds: float, seed: int) -> Iterator[None]:
    """So many threads that send recordings, one in thirty a broken one, until the end of the block."""
    stop = threading.Event()

    def send(number: int) -> None:
        choose = np.random.default_rng([seed, number])
        while not stop.wait(choose.exponential(pause_seconds)):
            broken = choose.random() < 1 / 30
            body = BROKEN[choose.integers(len(BROKEN))] if broken else recordings[choose.integers(len(recordings))]
            connection = http.client.HTTPConnection(address, timeout=120)
            connection.request("POST", "/v1/classify", body, {"Content-Type": "application/octet-stream"})
            connection.getresponse().read()
            connection.close()

    threads = [threading.Thread(target=send, args=(number,)) for number in range(n)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def incident(
    server: RunningServer, model_file: Path, recordings: list[bytes]
) -> list[tuple[float, str, Callable[[], Any]]]:
    """What happens when, in shares of the time."""
    address = server.url.removeprefix("http://")
    burst = ExitStack()
    away = model_file.with_suffix(".away")
    return [
        (0.2, "a worker is killed", lambda: os.kill(server.health().json()["workers"][0]["pid"], signal.SIGKILL)),
        (0.35, "the model file is renamed", lambda: model_file.rename(away)),
        (0.5, "the model file is back", lambda: away.rename(model_file)),
        (
            0.65,
            f"{N_BURST} more clients come",
            lambda: burst.enter_context(clients(address, N_BURST, recordings, BURST_PAUSE_SECONDS, seed=2)),
        ),
        (0.72, "they leave", burst.close),
    ]


def answers(prometheus: RealPrometheus, window: Window) -> dict[str, Any]:
    """What every query of every panel gives: by dashboard, panel and target; and the alerts that fired."""
    found: dict[str, Any] = {}
    for name, dashboard in dashboards().items():
        found[name] = {}
        for panel in panels(dashboard):
            found[name][str(panel["id"])] = [
                prometheus.query(window.filled(target["expr"]), window.end)
                if target["instant"]
                else prometheus.query_range(
                    window.filled(target["expr"]), window.start, window.end, window.step_seconds
                )
                for target in panel["targets"]
            ]
    alerts = dashboards()["service"]["annotations"]["list"][0]["target"]["expr"]
    fired = prometheus.query_range(alerts, window.start, window.end, window.step_seconds)
    return {"panels": found, "alerts": fired, "start": window.start, "end": window.end, "step": window.step_seconds}


def observe(minutes: float) -> dict[str, Any]:
    """Run the service under traffic through the incident; what Prometheus then answers."""
    recordings = clips(80)
    deploy = ROOT / "deploy" / "prometheus"
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        model = folder / "model"
        shutil.copytree(EMBEDDED_DIRECTORY, model)
        settings = {"CCMUSIC_MODEL": str(model), "CCMUSIC_WORKERS": "2", "CCMUSIC_MAX_QUEUE": str(MAX_QUEUE)}
        server = stack.enter_context(running_server("--no-page", **settings))
        server.wait_healthy()
        address = server.url.removeprefix("http://")
        blackbox = stack.enter_context(real_blackbox((deploy / "blackbox.yml").read_text(), folder / "blackbox"))
        config = every(SCRAPE_SECONDS, (deploy / "prometheus.yml").read_text())
        rules = every(SCRAPE_SECONDS, (deploy / "rules" / "ccmusic.rules.yml").read_text())
        prometheus = stack.enter_context(
            real_prometheus(
                reachable(config, {"ccmusic:7860": address, "blackbox:9115": blackbox}),
                folder / "prometheus",
                {"rules/ccmusic.rules.yml": rules},
            )
        )
        stack.enter_context(clients(address, N_CLIENTS, recordings, PAUSE_SECONDS, seed=1))
        begun, seconds = time.time(), 60 * minutes
        told = []
        with tqdm(total=round(seconds), unit="s") as bar:
            file = model / json.loads((model / "card.json").read_text())["file"]
            for share, words, happen in [*incident(server, file, recordings), (1.0, "", lambda: None)]:
                while (left := begun + share * seconds - time.time()) > 0:
                    time.sleep(min(1.0, left))
                    bar.update(min(bar.total, round(time.time() - begun)) - bar.n)
                happen()
                if words:
                    told.append(f"{time.strftime('%H:%M', time.gmtime())} {words}")
        # as a Grafana would choose them, from the width of a panel and from the data source
        window = Window(time.time(), seconds, max(SCRAPE_SECONDS, seconds / N_POINTS), SCRAPE_SECONDS)
        amid = Window(begun + AMID * seconds, AMID * seconds, window.step_seconds, SCRAPE_SECONDS)
        caption = {"told": told, "words": _measured(minutes)}
        found = {"end": answers(prometheus, window) | caption, "amid": answers(prometheus, amid) | caption}
        return json.loads(json.dumps(found).replace(name, "…"))  # where this machine keeps temporary files is no news


def first_section(dashboard: dict[str, Any]) -> dict[str, Any]:
    """The dashboard down to its second heading."""
    second = [number for number, panel in enumerate(dashboard["panels"]) if panel["type"] == "row"][1]
    return dashboard | {"panels": dashboard["panels"][:second]}


def _measured(minutes: float) -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return f"{datetime.datetime.now(datetime.UTC).date()}, {minutes:g} min, {machine()}, commit {commit.stdout.strip()}"


def main() -> None:
    """Observe, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--data", type=Path, help="where the answers are kept")
    parser.add_argument("--images", type=Path, default=ROOT / "docs" / "images")
    options = parser.parse_args()
    if options.data is not None and options.data.is_file():
        data = json.loads(options.data.read_text(encoding="utf-8"))
    else:
        data = observe(options.minutes)
        if options.data is not None:
            options.data.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    pictures = [(name, dashboard, "end", f"dashboard-{name}.png") for name, dashboard in dashboards().items()]
    pictures.append(("service", first_section(dashboards()["service"]), "amid", "dashboard-incident.png"))
    for name, dashboard, moment, file in pictures:
        path = options.images / file
        draw(dashboard, data[moment]["panels"][name], data[moment], path)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
