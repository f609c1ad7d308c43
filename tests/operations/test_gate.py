"""The gate with the real service, and with small services that behave badly."""

import socket

import httpx
import numpy as np
import pytest

from ccmusic import cli
from ccmusic.commands.exit_codes import ExitCode
from ccmusic.errors import InvalidParameter, ModelFileNotFound
from ccmusic.genres import LABELS
from ccmusic.inference.aggregate import window_probabilities
from ccmusic.models.card import CARD_NAME, read_card
from ccmusic.models.store import EMBEDDED_DIRECTORY
from ccmusic.operations.gate import GateOutcome, gate
from support.bands_model import band_network, write_model, write_own_model, write_world_model
from support.ending_clock import LONG_SECONDS
from support.running_server import running_server
from support.stub_http import stub_http
from support.waiting import wait_until

OK = {"status": "ok", "service": "ccmusic-database", "version": "1"}
EMBEDDED = read_card(EMBEDDED_DIRECTORY / CARD_NAME)


@pytest.fixture
def lines():
    return []


def green(method, path, models=None):
    """Replies of a healthy service; None for a request that each test answers itself."""
    match path:
        case "/readyz" | "/health":
            return 200, OK
        case "/v1/models":
            return 200, {"models": [{"sha256": EMBEDDED.sha256}] if models is None else models}
    return None


def predictions(probabilities, labels=LABELS):
    named = zip(labels, map(float, probabilities), strict=True)
    return {"levels": {"0": [], str(len(labels)): [{"genre": label, "probability": p} for label, p in named]}}


def right_answers():
    return [window_probabilities(np.array([clip.logits]), clip.seconds, EMBEDDED)[0] for clip in EMBEDDED.golden]


def in_full(answers):
    """Replies to every request of the gate: these answers to the golden clips, and the right answers of the heads."""
    for clip, answer in zip(EMBEDDED.golden, answers, strict=True):
        yield 200, predictions(answer)
        for head in EMBEDDED.heads:
            of_head = window_probabilities(np.array([clip.heads[head.taxonomy]]), clip.seconds, head)[0]
            yield 200, predictions(of_head, head.labels)


def classifying(replies, models=None):
    """A healthy service that answers recordings with these replies, one after the other; the last one repeats."""
    replies = list(replies)

    def answer(method, path):
        known = green(method, path, models)
        if known is not None:
            return known
        return replies.pop(0) if len(replies) > 1 else replies[0]

    return answer


# the real service


@pytest.fixture(scope="module")
def server():
    with running_server("--no-page", CCMUSIC_WORKERS="1") as running:
        yield running  # the gate waits until it is healthy


def test_waits_for_the_real_service_and_compares_its_golden_answers(server, lines):
    assert gate(server.url, echo=lines.append) == GateOutcome.GREEN
    assert lines[-2] == "gate: healthy"
    assert lines[-1].startswith("gate: 4 golden answers of ccmusic-embedded")


def test_the_command(server, capsys):
    assert cli.main(["gate", server.url, "--timeout", "60"]) == ExitCode.OK
    assert "golden answers" in capsys.readouterr().out
    assert cli.main(["gate", server.url, "--no-golden"]) == ExitCode.OK
    assert capsys.readouterr().out == "gate: healthy\n"


def test_another_model_needs_its_card(tmp_path, lines):
    card = write_model(tmp_path / "bands") / CARD_NAME
    other = write_model(tmp_path / "other", band_network(0.2))
    with running_server("--no-page", CCMUSIC_WORKERS="1", CCMUSIC_MODEL=str(card.parent)) as running:
        assert gate(running.url, echo=lines.append) == GateOutcome.GREEN
        assert "NOT COMPARED" in lines[-1]
        assert gate(running.url, card=card, echo=lines.append) == GateOutcome.GREEN
        assert lines[-1].startswith("gate: 2 golden answers of bands")
        assert gate(running.url, card=card.parent, echo=lines.append) == GateOutcome.GREEN
        # the service is healthy, but it serves another model than the card
        assert gate(running.url, card=other, echo=lines.append) == GateOutcome.WRONG_ANSWER
        assert "it serves the model" in lines[-1]


def test_every_output_of_the_network_is_compared(tmp_path, lines):
    directory = write_world_model(tmp_path)
    right = read_card(directory / CARD_NAME)
    with running_server("--no-page", CCMUSIC_WORKERS="1", CCMUSIC_MODEL=str(directory)) as running:
        assert gate(running.url, card=directory, echo=lines.append) == GateOutcome.GREEN
        assert lines[-1].startswith("gate: 2 golden answers of bands")
        golden = tuple(clip.model_copy(update={"heads": {"world": clip.heads["world"][::-1]}}) for clip in right.golden)
        (tmp_path / "wrong").mkdir()
        wrong = right.model_copy(update={"golden": golden}).save(tmp_path / "wrong")
        assert gate(running.url, card=wrong, echo=lines.append) == GateOutcome.WRONG_ANSWER
        assert "a probability is off by" in lines[-1]


def test_a_model_with_its_own_labels(tmp_path, lines):
    directory = write_own_model(tmp_path)
    with running_server("--no-page", CCMUSIC_WORKERS="1", CCMUSIC_MODEL=str(directory)) as running:
        assert gate(running.url, card=directory, echo=lines.append) == GateOutcome.GREEN
    assert lines[-1].startswith("gate: 2 golden answers of bands")


def test_the_real_service_without_its_model_never_becomes_green(tmp_path, lines, clock):
    def echo(line):
        lines.append(line)
        clock.end()

    with running_server("--no-page", CCMUSIC_WORKERS="1", CCMUSIC_MODEL=str(tmp_path / "nowhere")) as running:
        wait_until(lambda: "not found" in httpx.get(f"{running.url}/readyz").text, "the first load has failed")
        assert gate(running.url, timeout_seconds=LONG_SECONDS, echo=echo) == GateOutcome.NOT_GREEN
    assert f"Model file not found: {tmp_path / 'nowhere'}" in lines[-1]


# services that behave badly


def test_unreachable(lines):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert gate(f"http://127.0.0.1:{port}", timeout_seconds=0.5, echo=lines.append) == GateOutcome.UNREACHABLE
    assert "refused" in lines[-1]


def test_a_port_that_accepts_and_never_answers_is_unreachable(lines):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert gate(url, timeout_seconds=0.5, echo=lines.append) == GateOutcome.UNREACHABLE


@pytest.mark.parametrize(
    ("replies", "message"),
    [
        ({"/readyz": (503, {"message": "still loading"})}, "/readyz: still loading"),
        ({"/readyz": (200, OK), "/health": (503, {"message": "disk is full"})}, "/health: disk is full"),
        ({"/readyz": (200, OK), "/health": (500, b"oops")}, "/health: status 500"),
        ({"/readyz": (200, b"<html>welcome</html>"), "/health": (200, b"<html>welcome</html>")}, "not CCMusic"),
        ({"/readyz": (200, OK), "/health": (200, OK | {"service": "another"})}, "not CCMusic"),
        ({"/readyz": (200, OK), "/health": (200, OK | {"status": "error"})}, "not CCMusic"),
    ],
)
def test_never_green(replies, message, lines, clock):
    seen = []

    def answer(method, path):
        seen.append(path)
        if seen.count(list(replies)[-1]) == 3:  # all that the gate asks for, three times
            clock.end()
        return replies[path]

    with stub_http(answer) as url:
        assert gate(url, timeout_seconds=LONG_SECONDS, echo=lines.append) == GateOutcome.NOT_GREEN
    assert message in lines[-1]
    assert len(lines) == 2  # the cause once, although it was requested several times, and the outcome


def test_a_line_whenever_the_cause_changes(lines):
    causes = ["loading", "loading", "the model is broken"]

    def answer(method, path):
        if path == "/readyz" and causes:
            return 503, {"message": causes.pop(0)}
        return green(method, path)

    with stub_http(answer) as url:
        assert gate(url, golden=False, echo=lines.append) == GateOutcome.GREEN
    assert lines == [
        "gate: not healthy: /readyz: loading",
        "gate: not healthy: /readyz: the model is broken",
        "gate: healthy",
    ]


def test_right_golden_answers(lines):
    replies = [(503, {}), *in_full(right_answers())]  # a busy service is not wrong
    with stub_http(classifying(replies)) as url:
        assert gate(url, echo=lines.append) == GateOutcome.GREEN
    assert lines[-1].startswith("gate: 4 golden answers")


def off_by(error):
    wrong = right_answers()
    wrong[1] = wrong[1] + np.eye(16)[0] * error - np.eye(16)[1] * error
    return list(in_full(wrong))


@pytest.mark.parametrize(
    ("replies", "message"),
    [
        (off_by(0.03), "beat: a probability is off by 0.030"),
        ([(200, predictions(np.full(16, 1 / 16)))], "off by"),
        ([(200, predictions(np.roll(p, 1))) for p in right_answers()], "off by"),
        ([(200, predictions([*right_answers()[0][:15], np.nan]))], "not finite"),
        ([(200, predictions(np.full(16, 0.5)))], "sum is not 1"),
        ([(200, predictions(right_answers()[0], [f"genre {i}" for i in range(16)]))], "not the card's labels"),
        ([(200, predictions([1.0], ["Opera"]))], "not the card's labels"),
        ([(200, {})], "status 200"),
        ([(200, b"?")], "status 200"),
        ([(500, {"detail": "broken inside"})], "broken inside"),
    ],
)
def test_wrong_golden_answers(replies, message, lines):
    with stub_http(classifying(replies)) as url:
        assert gate(url, echo=lines.append) == GateOutcome.WRONG_ANSWER
    assert lines[-1].startswith("gate: wrong golden answer: ")
    assert message in lines[-1]


def test_an_error_within_the_tolerance_is_another_machine(lines):
    with stub_http(classifying(off_by(0.01))) as url:
        assert gate(url, echo=lines.append) == GateOutcome.GREEN


def test_an_unknown_model_must_at_least_agree_with_itself(lines):
    first, second, *_ = ((200, predictions(p)) for p in right_answers())
    unknown = [{"sha256": "f" * 64}]
    with stub_http(classifying([first], unknown)) as url:
        assert gate(url, echo=lines.append) == GateOutcome.GREEN
    assert "NOT COMPARED" in lines[-1]
    with stub_http(classifying([first, second], unknown)) as url:
        assert gate(url, echo=lines.append) == GateOutcome.WRONG_ANSWER
    assert "two different answers" in lines[-1]


@pytest.mark.parametrize("models", [[], [{}], {}])
def test_green_without_a_model_is_a_wrong_answer(models, lines):
    with stub_http(classifying([(200, {})], models)) as url:
        assert gate(url, echo=lines.append) == GateOutcome.WRONG_ANSWER


def test_always_busy_is_not_green_in_time(lines, clock):
    busy = classifying([(503, {})])
    asked = []

    def answer(method, path):
        asked.append(method)
        if asked.count("POST") == 3:
            clock.end()
        return busy(method, path)

    with stub_http(answer) as url:
        assert gate(url, timeout_seconds=LONG_SECONDS, echo=lines.append) == GateOutcome.NOT_GREEN
    assert "did not answer a golden clip" in lines[-1]


def test_a_clip_longer_than_the_window_is_not_compared(tmp_path, lines):
    card = write_model(tmp_path / "bands", window_seconds=1.0)
    sha256 = read_card(card / CARD_NAME).sha256
    with stub_http(classifying([(200, predictions(right_answers()[0]))], [{"sha256": sha256}])) as url:
        assert gate(url, card=card, echo=lines.append) == GateOutcome.GREEN
    assert "NOT COMPARED" in lines[-1]


@pytest.mark.parametrize("url", ["ftp://host", "http://", "http://host:port", "http://host:99999"])
def test_an_address_that_is_not_allowed(url):
    with pytest.raises(InvalidParameter):
        gate(url, timeout_seconds=0.1, echo=str)


def test_a_card_that_does_not_exist(tmp_path):
    with pytest.raises(ModelFileNotFound):
        gate("http://127.0.0.1:1", card=tmp_path / "card.json", echo=str)


def test_a_path_before_the_service_and_no_scheme(lines):
    seen = []

    def answer(method, path):
        seen.append(path)
        return green(method, path.removeprefix("/music"))

    with stub_http(answer) as url:
        assert gate(f"{url.removeprefix('http://')}/music/", golden=False, echo=lines.append) == GateOutcome.GREEN
    assert seen == ["/music/readyz", "/music/health"]


def test_proxies_are_not_used(lines, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with stub_http(green) as url:
        assert gate(url, golden=False, echo=lines.append) == GateOutcome.GREEN


def test_deeply_nested_json_does_not_crash_the_gate(lines, clock):
    def answer(method, path):
        if path == "/health":
            clock.end()
        return 200, b"[" * 100_000

    with stub_http(answer) as url:
        assert gate(url, timeout_seconds=LONG_SECONDS, echo=lines.append) == GateOutcome.NOT_GREEN
