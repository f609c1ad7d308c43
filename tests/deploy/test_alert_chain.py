"""From a fault to a person and back, with every program real and only WeCom and the mail server played.

`make monitoring-test` runs it with the times as they are shipped and with short ones; CI with the short ones.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import httpx
import pytest

from deploy.alert_chain import SHIPPED, SHORT, Chain, alert_chain, firing
from support.recordings import tone, wav

pytestmark = pytest.mark.deploy

PRODUCTION = bool(os.environ.get("CCMUSIC_TEST_PRODUCTION_TIMES"))
REPORT = os.environ.get("CCMUSIC_TEST_ALERT_CHAIN", "")
"""Where the steps are written as a page; only with the times as shipped."""

QUERIES = (
    'probe_success{job="ccmusic"} == 1',
    'histogram_quantile(0.95, sum(rate(http_request_duration_seconds_bucket{job="ccmusic"}[5m])) by (le))',
    'sum(rate(http_requests_total{job="ccmusic",status=~"5.."}[5m]))'
    ' / sum(rate(http_requests_total{job="ccmusic"}[5m]))',
)
"""Those of docs/contract.md, word for word."""

written: list[str] = []


@pytest.fixture(params=[SHORT, SHIPPED] if PRODUCTION else [SHORT], ids=lambda times: times.name.replace(" ", "-"))
def chain(request, tmp_path):
    with alert_chain(tmp_path, request.param) as running:
        yield running
    report(running, request.node.originalname)


def report(chain: Chain, test: str) -> None:
    """Say how long the steps took."""
    lines = [f"## {TITLES[test]}, times {chain.times.name}", "", "| step | seconds since the fault |", "|---|---|"]
    write([*lines, *(f"| {words} | {seconds:.1f} |" for words, seconds in chain.steps)])


def write(lines: list[str]) -> None:
    """Add a part to the page."""
    written.extend([*lines, ""])
    print("\n".join(lines))
    if REPORT and PRODUCTION:
        Path(REPORT).write_text(HEAD + "\n".join(written), encoding="utf-8")


TITLES = {
    "test_a_missing_model_file_reaches_the_pager_and_so_does_its_return": "Model file deleted, then restored",
    "test_without_wecom_the_second_channel_is_told": "WeCom gone, then a fault",
    "test_without_the_bridge_alertmanager_itself_sends_a_mail": "The bridge killed, then a fault",
}
HEAD = """# From a fault to a person

Written by `make monitoring-test`: the real service, blackbox exporter, Prometheus, Alertmanager and `ccmusic
wecom-bridge` with the shipped configuration; WeCom and the mail server are stand-ins that speak their protocols. "Times
as shipped" are those of `deploy/`; with "short" ones every interval is a fifteenth, and CI runs those.

"""


@pytest.mark.timeout(1500)
def test_a_missing_model_file_reaches_the_pager_and_so_does_its_return(chain):
    file = chain.model / "model.onnx"
    kept = file.read_bytes()

    deleted = time.monotonic()
    file.unlink()
    chain.wait(lambda: chain.server.health().status_code == 503, "/health is red", deleted)
    assert chain.server.health().json()["message"] == f"Model file not found: {file}"
    chain.wait(lambda: chain.metric('probe_success{job="ccmusic"}') == 0, "probe_success is 0", deleted)
    chain.wait(lambda: "CcmusicRed" in firing(chain.prometheus), "the alert CcmusicRed fires", deleted)
    chain.wait(
        lambda: chain.told("CcmusicRed", "model_file", "告警", f"{chain.model.name}/model.onnx", "CcmusicRed.md"),
        "WeCom has the message, with cause and runbook",
        deleted,
    )
    assert chain.server.process.poll() is None
    assert httpx.get(f"{chain.server.url}/readyz").status_code == 200  # what is loaded still answers

    restored = time.monotonic()
    file.write_bytes(kept)
    chain.wait(lambda: chain.server.health().status_code == 200, "file restored: /health is green", restored)
    chain.wait(
        lambda: chain.told("CcmusicRed", "model_file", "已恢复"),
        "file restored: WeCom has the resolved message",
        restored,
    )
    assert chain.smtp.mails == []  # the first channel worked: nobody is told twice


def test_the_three_queries_of_the_contract_have_results(tmp_path):
    with alert_chain(tmp_path, SHORT) as chain:
        chain.wait(lambda: chain.metric(QUERIES[2]) is not None, "two scrapes are there")
        assert chain.metric(QUERIES[0]) == 1
        assert chain.metric(QUERIES[1]) > 0
        assert chain.metric(QUERIES[2]) == 0  # nothing was classified yet, nothing has failed
        for _ in range(5):
            answer = httpx.post(f"{chain.server.url}/v1/classify", files={"audio": wav(tone(440, 3.0))}, timeout=60)
            assert answer.status_code == 200
        chain.wait(
            lambda: (chain.metric('sum(rate(http_requests_total{handler="/v1/classify"}[5m]))') or 0) > 0,
            "the traffic is scraped",
        )
        found = {query: chain.metric(query) for query in QUERIES}
        assert None not in found.values()
        rows = [f"| `{query.replace('|', chr(92) + '|')}` | {value:.3g} |" for query, value in found.items()]
        write(
            [
                "## The three queries of the contract, verbatim, under traffic",
                "",
                "| query | value |",
                "|---|---|",
                *rows,
            ]
        )


@pytest.mark.timeout(1500)
def test_without_wecom_the_second_channel_is_told(chain):
    chain.wecom.stop()
    file = chain.model / "model.onnx"
    kept = file.read_bytes()
    deleted = time.monotonic()
    file.unlink()
    chain.wait(lambda: "CcmusicRed" in firing(chain.prometheus), "the alert CcmusicRed fires", deleted)
    chain.wait(lambda: chain.mailed("CcmusicRed", "model_file"), "the bridge has sent the alert by mail", deleted)
    chain.wait(lambda: chain.mailed("CcmusicNotificationsFailing"), "a mail says that the first channel fails", deleted)
    back = time.monotonic()
    chain.wecom.start()
    file.write_bytes(kept)
    chain.wait(lambda: chain.told("已恢复"), "WeCom back: it has the resolved message", back)


@pytest.mark.timeout(1500)
def test_without_the_bridge_alertmanager_itself_sends_a_mail(chain):
    killed = time.monotonic()
    chain.bridge.kill()
    (chain.model / "model.onnx").unlink()
    chain.wait(
        lambda: "CcmusicNotificationsFailing" in firing(chain.prometheus), "CcmusicNotificationsFailing fires", killed
    )
    chain.wait(lambda: chain.mailed("CcmusicNotificationsFailing"), "Alertmanager has sent a mail", killed)
    assert chain.wecom.robot_messages == []
