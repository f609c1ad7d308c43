import pytest

from ccmusic.audio.waveform import DecodeLimits
from ccmusic.errors import InvalidSettings
from ccmusic.settings import read_settings


def test_defaults_listen_where_a_probe_can_reach():
    settings = read_settings()
    assert (settings.host, settings.port, settings.model) == ("0.0.0.0", 7860, "embedded")


def test_command_line_over_environment_over_file(monkeypatch, tmp_path):
    file = tmp_path / "ccmusic.toml"
    file.write_text("port = 1111\nworkers = 3\nmax_queue = 9\n")
    monkeypatch.setenv("CCMUSIC_CONFIG", str(file))
    monkeypatch.setenv("CCMUSIC_PORT", "2222")
    monkeypatch.setenv("CCMUSIC_WORKERS", "4")
    settings = read_settings(workers=5, host=None)
    assert (settings.max_queue, settings.port, settings.workers) == (9, 2222, 5)


def test_a_bad_value_names_its_variable(monkeypatch):
    monkeypatch.setenv("CCMUSIC_PORT", "eighty")
    with pytest.raises(InvalidSettings, match=r"CCMUSIC_PORT: .*'eighty'"):
        read_settings()


def test_a_misspelt_variable_is_refused(monkeypatch):
    monkeypatch.setenv("CCMUSIC_WORKER", "2")
    with pytest.raises(InvalidSettings, match="CCMUSIC_WORKER: there is no such setting"):
        read_settings()


def test_the_variables_of_the_bridge_are_not_checked(monkeypatch):
    monkeypatch.setenv("CCMUSIC_BRIDGE_PORT", "7861")
    assert read_settings().port == 7860


def test_an_unknown_key_of_the_file_is_refused(monkeypatch, tmp_path):
    file = tmp_path / "ccmusic.toml"
    file.write_text("wrokers = 3\n")
    monkeypatch.setenv("CCMUSIC_CONFIG", str(file))
    with pytest.raises(InvalidSettings, match="WROKERS"):
        read_settings()


def test_a_missing_file_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("CCMUSIC_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(InvalidSettings, match=r"CCMUSIC_CONFIG: no such file: .*none\.toml"):
        read_settings()


def test_variables_that_kubernetes_sets_for_a_service_named_ccmusic(monkeypatch):
    for name, value in {
        "CCMUSIC_PORT": "tcp://10.0.0.1:7860",
        "CCMUSIC_SERVICE_HOST": "10.0.0.1",
        "CCMUSIC_SERVICE_PORT": "7860",
        "CCMUSIC_SERVICE_PORT_HTTP": "7860",
        "CCMUSIC_PORT_7860_TCP": "tcp://10.0.0.1:7860",
        "CCMUSIC_PORT_7860_TCP_ADDR": "10.0.0.1",
        "CCMUSIC_CANARY_SERVICE_HOST": "10.0.0.2",
        "CCMUSIC_CANARY_PORT": "tcp://10.0.0.2:7860",
    }.items():
        monkeypatch.setenv(name, value)
    assert read_settings().port == 7860


def test_decode_limits_carry_the_settings(monkeypatch):
    monkeypatch.setenv("CCMUSIC_MAX_SECONDS", "12.5")
    monkeypatch.setenv("CCMUSIC_MAX_UPLOAD_BYTES", "1000")
    limits = read_settings().decode_limits
    assert (limits.max_seconds, limits.max_bytes) == (12.5, 1000)


def test_the_defaults_of_the_limits_are_those_of_the_decoder():
    assert read_settings().decode_limits == DecodeLimits()
    assert DecodeLimits().max_bytes == 100 * 2**20
