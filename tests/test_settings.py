import codecs
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from ccmusic.audio.limits import DecodeLimits
from ccmusic.errors import InvalidSettings
from ccmusic.settings import LOCAL_FACTOR, Settings, read_settings


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


def test_a_page_is_required_only_if_someone_has_set_it(monkeypatch, tmp_path):
    assert read_settings().page
    assert not read_settings().page_is_required
    assert not read_settings(page=None).page_is_required
    assert not read_settings(page=False).page_is_required
    file = tmp_path / "ccmusic.toml"
    file.write_text("page = true\n")
    monkeypatch.setenv("CCMUSIC_CONFIG", str(file))
    assert read_settings().page_is_required
    monkeypatch.delenv("CCMUSIC_CONFIG")
    monkeypatch.setenv("CCMUSIC_PAGE", "")
    assert not read_settings().page_is_required
    monkeypatch.setenv("CCMUSIC_PAGE", "true")
    assert read_settings().page_is_required


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


def test_local_files_may_have_any_size_and_take_more_time(monkeypatch):
    monkeypatch.setenv("CCMUSIC_MAX_UPLOAD_BYTES", "1000")
    settings = read_settings()
    local = settings.local_limits
    assert local.decode_share == LOCAL_FACTOR * settings.decode_share
    same = {"max_bytes": 1000, "decode_seconds": settings.decode_seconds, "decode_share": settings.decode_share}
    assert replace(local, **same) == settings.decode_limits
    assert settings.local_limits.max_bytes >= 2**62


def test_the_defaults_of_the_limits_are_those_of_the_decoder():
    assert read_settings().decode_limits == DecodeLimits()
    assert DecodeLimits().max_bytes == 100 * 2**20


def test_every_port_setting_ignores_the_address_of_a_service_of_kubernetes(monkeypatch, tmp_path):
    ports = [name for name in Settings.model_fields if name.endswith("port")]
    assert "management_port" in ports
    for name in ports:
        monkeypatch.setenv(f"CCMUSIC_{name.upper()}", "tcp://10.0.0.1:7860")
    assert [getattr(read_settings(), name) for name in ports] == [Settings.model_fields[name].default for name in ports]
    file = tmp_path / "ccmusic.toml"
    file.write_text("port = 1111\n")
    monkeypatch.setenv("CCMUSIC_CONFIG", str(file))
    assert read_settings().port == 1111, "such a variable does not hide the file"


def test_a_misspelt_port_is_refused(monkeypatch):
    monkeypatch.setenv("CCMUSIC_MANAGMENT_PORT", "7861")
    with pytest.raises(InvalidSettings, match="CCMUSIC_MANAGMENT_PORT: there is no such setting"):
        read_settings()


def test_a_file_with_a_byte_order_mark(monkeypatch, tmp_path):
    file = tmp_path / "ccmusic.toml"
    file.write_bytes(codecs.BOM_UTF8 + b"port = 1111\r\n")
    monkeypatch.setenv("CCMUSIC_CONFIG", str(file))
    assert read_settings().port == 1111


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("heartbeat_seconds", "0.1"),  # a worker beats ten times a second
        ("load_timeout_seconds", "1"),
        ("job_timeout_seconds", "0.1"),
        ("request_timeout_seconds", "0.1"),
        ("max_loop_lag_seconds", "0.1"),  # as long as one beat of the loop
        ("self_test_seconds", "0.01"),
        ("self_test_seconds", "1e10"),  # longer than a system call can wait
        ("recycle_growth_bytes", "1"),
        ("import_timeout_seconds", "0.5"),
        ("drain_seconds", "inf"),
        ("heartbeat_seconds", "nan"),
    ],
)
def test_a_value_that_could_only_cause_false_restarts_is_refused(monkeypatch, name, value):
    monkeypatch.setenv(f"CCMUSIC_{name.upper()}", value)
    with pytest.raises(InvalidSettings, match=f"CCMUSIC_{name.upper()}: "):
        read_settings()


def no_home():
    raise RuntimeError("Could not determine home directory.")


def test_a_user_without_a_home(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert read_settings().model_cache == Path(tempfile.gettempdir()) / f"ccmusic-cache-{os.getuid()}"


def test_a_path_that_needs_a_home_which_there_is_not(monkeypatch):
    monkeypatch.setenv("CCMUSIC_MODEL_CACHE", "~nobody-has-this-name/cache")
    with pytest.raises(InvalidSettings, match=r"CCMUSIC_MODEL_CACHE: .*no home directory"):
        read_settings()


def test_the_admin_token_is_read_without_a_byte_order_mark(tmp_path):
    (tmp_path / "token").write_bytes(codecs.BOM_UTF8 + b"secret\r\n")
    assert Settings(admin_token_file=tmp_path / "token").admin_secret == "secret"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("trusted_proxies", "127.0.0.1, nginx", "IPv4 or IPv6"),
        ("frame_ancestors", "'self'; script-src *", "sources with spaces"),
        ("frame_ancestors", "", "sources with spaces"),
        ("api_keys_required", True, "CCMUSIC_API_KEYS_FILE"),
    ],
)
def test_settings_of_clients_that_cannot_work_are_refused(name, value, message):
    with pytest.raises(InvalidSettings, match=f"CCMUSIC_{name.upper()}: .*{message}"):
        read_settings(**{name: value})
