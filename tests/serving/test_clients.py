"""API keys, and rates."""

from __future__ import annotations

import pytest

from ccmusic.errors import InvalidSettings, TooManyRequests
from ccmusic.serving import clients
from ccmusic.serving.clients import ApiKeys, Rates
from support.fake_clock import FakeProcess

ALICE, BOB = "alice-has-this-key", "bob-has-another-key"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"# name, key, recordings in a minute\n\nalice {ALICE} 120\nbob {BOB}\n")
    return path


def test_a_client_with_a_key_has_the_name_of_the_key(file):
    keys = ApiKeys(file)
    assert len(keys) == 2
    assert keys.client_of(f"Bearer {ALICE}") == "key alice"
    assert keys.client_of(f"bearer  {BOB} ") == "key bob"
    assert keys.rates == {"key alice": 120.0}


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer nobody", f"Basic {ALICE}", ALICE, f"Bearer {ALICE}x", "Bearer ÿ"]
)
def test_another_header_names_nobody(file, header):
    assert ApiKeys(file).client_of(header) is None


def test_the_keys_themselves_are_not_kept(file):
    assert ALICE not in repr(vars(ApiKeys(file)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no key"),
        ("alice", "line 1"),
        ("alice a-key-that-is-long-enough 12 more", "line 1"),
        ("alice a-key-that-is-long-enough often", "line 1"),
        ("alice a-key-that-is-long-enough 0", "above 0"),
        ("alice short", "at least 16"),
    ],
)
def test_a_line_that_is_not_allowed_is_named_without_its_key(tmp_path, text, message):
    (tmp_path / "keys").write_text(text)
    with pytest.raises(InvalidSettings, match=f"CCMUSIC_API_KEYS_FILE: .*{message}") as caught:
        ApiKeys(tmp_path / "keys")
    assert "long-enough" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidSettings, match=r"CCMUSIC_API_KEYS_FILE: .*none cannot be read"):
        ApiKeys(tmp_path / "none")
    assert len(ApiKeys(None)) == 0


@pytest.fixture
def process(monkeypatch):
    process = FakeProcess()
    monkeypatch.setattr(clients, "CLOCK", process.clock)
    return process


def taken(rates: Rates, client: str, most: int = 1000) -> int:
    """How many recordings a client may send now."""
    for count in range(most):
        try:
            rates.take(client)
        except TooManyRequests:
            return count
    return most


def test_a_client_may_send_the_recordings_of_a_minute_at_once_and_then_evenly(process):
    rates = Rates(30.0)
    assert taken(rates, "a") == 30
    assert taken(rates, "b") == 30
    process.run(2.1)
    assert taken(rates, "a") == 1
    process.run(600.0)
    assert taken(rates, "a") == 30


def test_a_refusal_says_when_the_next_one_is_accepted(process):
    rates = Rates(0.5, what="parcels")
    rates.take("a")
    with pytest.raises(TooManyRequests, match=r"a may send 0\.5 parcels in 60 seconds") as caught:
        rates.take("a")
    assert caught.value.retry_after_seconds == pytest.approx(120.0)
    process.run(120.1)
    rates.take("a")


def test_certain_clients_have_another_rate_and_zero_is_no_limit(process):
    rates = Rates(0.0, {"key alice": 2.0})
    assert taken(rates, "a") == 1000
    assert taken(rates, "key alice") == 2


def test_the_number_of_clients_is_bounded(process, monkeypatch):
    monkeypatch.setattr(clients, "MAX_CLIENTS", 2)
    rates = Rates(1.0)
    assert [taken(rates, name) for name in "abca"] == [1, 1, 1, 1]
    assert taken(rates, "a") == 0
