import pytest

from ccmusic.alerting.settings import read_bridge_settings
from ccmusic.errors import InvalidSettings

MAIL = {"smtp_host": "smtp", "smtp_from": "a@example.com", "smtp_to": "b@example.com, c@example.com"}


def test_defaults(tmp_path):
    settings = read_bridge_settings(robot_url_file=tmp_path / "robot")
    assert (settings.port, settings.deadline_seconds, settings.heartbeat_seconds) == (7861, 30, 300)
    assert settings.host == "127.0.0.1"
    assert settings.zone.key == "Asia/Shanghai"


def test_flags_override_variables(monkeypatch):
    monkeypatch.setenv("CCMUSIC_BRIDGE_ROBOT_URL_FILE", "/run/secrets/robot")
    monkeypatch.setenv("CCMUSIC_BRIDGE_MENTION", "zhangsan, li.si")
    monkeypatch.setenv("CCMUSIC_BRIDGE_PORT", "1")
    settings = read_bridge_settings(port=2)
    assert str(settings.robot_url_file) == "/run/secrets/robot"
    assert settings.mention == ("zhangsan", "li.si")
    assert settings.port == 2


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost", "::ffff:127.0.0.1"])
def test_only_programs_of_the_machine_need_no_token(tmp_path, host):
    assert read_bridge_settings(robot_url_file=tmp_path, host=host).host == host


def test_with_a_token_it_listens_everywhere(tmp_path):
    assert read_bridge_settings(robot_url_file=tmp_path, host="0.0.0.0", token_file=tmp_path / "token").token_file


def test_recipients(tmp_path):
    assert read_bridge_settings(robot_url_file=tmp_path, **MAIL).smtp_to == ("b@example.com", "c@example.com")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"robot_url_file": None}, "CCMUSIC_BRIDGE_ROBOT_URL_FILE: Field required"),
        ({"timezone": "Mars/Olympus"}, "CCMUSIC_BRIDGE_TIMEZONE: .*unknown time zone"),
        ({"mention": "a><@all"}, "CCMUSIC_BRIDGE_MENTION"),
        ({"per_minute": 21}, "CCMUSIC_BRIDGE_PER_MINUTE"),
        ({"host": "0.0.0.0"}, "host 0.0.0.0 can be reached from other machines: set token_file"),
        ({"host": "::"}, "set token_file"),
        ({"host": "bridge.example.com"}, "set token_file"),
        ({"smtp_host": "smtp"}, "smtp_host needs smtp_from and smtp_to"),
        (MAIL | {"smtp_user": "a"}, "must be set together"),
        (MAIL | {"smtp_user": "a", "smtp_password_file": "f", "smtp_security": "none"}, "not sent in clear"),
    ],
)
def test_an_invalid_value_is_named(tmp_path, changes, words):
    with pytest.raises(InvalidSettings, match=words):
        read_bridge_settings(**({"robot_url_file": tmp_path} | changes))


def test_a_misspelt_variable_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("CCMUSIC_BRIDGE_HEARTBEAT", "0")
    with pytest.raises(InvalidSettings, match="CCMUSIC_BRIDGE_HEARTBEAT: unknown setting"):
        read_bridge_settings(robot_url_file=tmp_path)


def test_the_variables_of_a_service_of_kubernetes(tmp_path, monkeypatch):
    for name, value in {
        "CCMUSIC_BRIDGE_PORT": "tcp://10.0.0.1:7861",
        "CCMUSIC_BRIDGE_SMTP_PORT": "tcp://10.0.0.2:25",
        "CCMUSIC_BRIDGE_SERVICE_HOST": "10.0.0.1",
        "CCMUSIC_BRIDGE_PORT_7861_TCP_ADDR": "10.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    settings = read_bridge_settings(robot_url_file=tmp_path / "robot")
    assert (settings.port, settings.smtp_port) == (7861, 587)
