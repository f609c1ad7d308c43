"""The page: it is promised, so a page that does not work is red, and it comes back without a restart."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from faults.drill import prove
from faults.processes import may_mount
from faults.service import Service
from faults.traffic import SHORT, Traffic, differs
from support.waiting import wait_until

OK = 200


def is_open(service: Service) -> bool:
    answer = service.admin("GET", "/")
    return answer.status == OK and "gradio_config" in answer.text


def wait_for_page(service: Service) -> None:
    wait_until(lambda: is_open(service), "the page is open", 120)


def classified_on_the_page(service: Service) -> str:
    """Upload the test recording to the page, as a browser does, and return the genre that the page answers."""
    client = service.client()
    try:
        head = (
            b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
        )
        form = {"Content-Type": "multipart/form-data; boundary=b"}
        uploaded = client.ask("POST", "/gradio_api/upload", head + SHORT + b"\r\n--b--\r\n", form)
        assert uploaded.status == OK, uploaded.text
        clip = {"path": uploaded.json[0], "meta": {"_type": "gradio.FileData"}}
        body = json.dumps({"data": [clip, "whole"]}).encode()
        started = client.ask("POST", "/gradio_api/call/classify", body, {"Content-Type": "application/json"})
        assert started.status == OK, started.text
        events = client.get(f"/gradio_api/call/classify/{started.json['event_id']}").text
    finally:
        client.close()
    assert "event: complete" in events, events
    return json.loads(events.split("event: complete\ndata: ")[1].splitlines()[0])[0]["label"]


def page_is_red(cause: str):
    """Signs in /health and in /metrics, while the API is ready and alive."""
    return (
        lambda now: now.health is not None and now.health.status == 503 and now.reports("page", "fail", cause),
        lambda now: now.measures("page", "fail") and now.metric("ccmusic_page_failures_total") > 0,
        lambda now: now.ready.status == OK and now.live.status == OK,
    )


@pytest.mark.fault("U1")
def test_a_page_without_its_directory_is_red_and_opens_later(row, start, tmp_path):
    pytest.importorskip("gradio")
    obstacle = tmp_path / "obstacle"
    for once in row.repeats():
        obstacle.touch()
        with start(wait=False, with_page=True, GRADIO_TEMP_DIR=obstacle / "uploads") as service:
            once.service = service
            once.since = service.named_at
            in_health, in_metrics, api_works = page_is_red(r"cannot be created: Not a directory \(ENOTDIR\)")
            # the model is still loading, whose failure has the message; the page is among the checks
            once.detected_when(in_health, in_metrics)
            detected = once.detected
            once.detected_when(api_works)
            once.detected = detected
            assert service.admin("GET", "/").status == 503
            assert service.classify(SHORT).status == OK, "the API works without the page"
            assert service.look().body["message"].startswith("Health check failed: page: its upload directory")
            back = time.monotonic()
            obstacle.unlink()
            wait_for_page(service)
            once.recovered_when(since=back)
            assert classified_on_the_page(service)
            shutil.rmtree(obstacle)
    row.remark("counted from the line with the port")


@pytest.mark.fault("U2")
def test_a_page_whose_directory_is_swept_away_is_red_and_gets_another(row, start):
    pytest.importorskip("gradio")
    with start(with_page=True) as service, Traffic(service) as traffic:
        wait_for_page(service)
        genre = classified_on_the_page(service)
        for once in row.repeats(service, traffic):
            [before] = service.temporary.glob("ccmusic-page-*")
            once.begin()
            shutil.rmtree(before, ignore_errors=True)  # the page deletes the rest itself, perhaps at the same time
            once.detected_when(*page_is_red("lost"))
            wait_for_page(service)
            once.recovered_when()
            [after] = service.temporary.glob("ccmusic-page-*")
            assert after != before
            assert after.stat().st_mode & 0o777 == 0o700, "uploads are private"
            assert classified_on_the_page(service) == genre
        assert not traffic.counts()[2], "no request of the API fails"


@pytest.mark.fault("U3")
def test_a_page_on_a_full_disk_is_red_and_recovers_with_it(row, start, tmp_path):
    pytest.importorskip("gradio")
    if not may_mount():
        pytest.skip("mounting in a mount namespace is not permitted")
    disk = tmp_path / "disk"
    disk.mkdir()
    wrapper = ("unshare", "-m", "sh", "-c", f'mount -t tmpfs -o size=20m tmpfs {disk} && exec "$@"', "sh")
    with start(with_page=True, wrapper=wrapper, GRADIO_TEMP_DIR=disk) as service, Traffic(service) as traffic:
        wait_for_page(service)
        inside = Path(f"/proc/{service.pid}/root{disk}")
        for once in row.repeats(service, traffic):
            once.begin()
            with (inside / "filler").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
                while True:
                    file.write(bytes(65536))
            prove(lambda: os.statvfs(inside).f_bavail == 0, "the disk is full")
            once.detected_when(*page_is_red(r"cannot be written to: .*ENOSPC"))
            assert is_open(service), "what needs no file works"
            assert not differs(service.classify(SHORT), traffic.reference)
            back = time.monotonic()
            (inside / "filler").unlink()
            once.recovered_when(since=back)
            assert classified_on_the_page(service)
        assert not traffic.counts()[2], "no request of the API fails"
    row.remark("a 20 MB tmpfs as GRADIO_TEMP_DIR")
