"""The first start with a model that does not exist yet, as a client of ``/health`` sees it."""

from __future__ import annotations

import httpx
import pytest

from support.checkpoints import IMPORT_SECONDS, write_checkpoint, write_recordings
from support.recordings import tone, wav
from support.running_server import running_server
from support.waiting import PATIENCE_SECONDS, wait_until


@pytest.mark.timeout(2 * IMPORT_SECONDS)
def test_health_reports_loading_until_a_checkpoint_is_the_model(tmp_path):
    audio, cache = write_recordings(tmp_path / "audio", 1), tmp_path / "cache"
    seen = []
    with running_server(
        "--no-page",
        "--workers",
        "1",
        CCMUSIC_MODEL=str(write_checkpoint(tmp_path)),
        CCMUSIC_MODEL_CACHE=str(cache),
        CCMUSIC_IMPORT_AUDIO=str(audio),
    ) as server:

        def healthy() -> bool:
            answer = server.health()
            body = answer.json()
            seen.append((answer.status_code, body["model_status"], body.get("message")))
            return answer.status_code == 200

        wait_until(healthy, "/health is 200", IMPORT_SECONDS)
        song = {"audio": ("tone.wav", wav(tone(440, 12.0)), "audio/wav")}
        answer = httpx.post(f"{server.url}/v1/classify", files=song, timeout=PATIENCE_SECONDS)
        running = server.health().json()["checks"]
    assert set(seen[:-1]) == {(503, "loading", "Model is still loading...")}
    assert seen[-1][1] == "ready"
    assert answer.json()["model"]["name"] == "vgg19-bn-cqt"
    assert running["model_choice"] == {"status": "pass"}
    assert list(cache.glob("imported/*/card.json"))


def test_a_missing_checkpoint_is_named():
    with running_server("--no-page", "--workers", "1", CCMUSIC_MODEL="./vgg19_bn_cqt/save.pt") as server:
        wait_until(lambda: "not found" in (server.health().json()["message"] or ""), "the missing file is reported")
        assert server.health().json()["message"] == "Model file not found: ./vgg19_bn_cqt/save.pt"
        assert server.health().status_code == 503


def test_without_a_network_the_embedded_model_is_served_and_health_warns(tmp_path):
    with running_server(
        "--no-page",
        "--workers",
        "1",
        CCMUSIC_MODEL="hf://owner/name",
        CCMUSIC_MODEL_CACHE=str(tmp_path),
        CCMUSIC_HUB_OFFLINE="true",
    ) as server:
        server.wait_healthy()
        body = server.health().json()
    assert body["checks"]["model_choice"]["status"] == "warn"
    assert body["model"]["name"] == "ccmusic-embedded"
    (warning,) = [text for text in body["warnings"] if text.startswith("model_choice: ")]
    assert "hf://owner/name could not be fetched, so the embedded model serves" in warning
