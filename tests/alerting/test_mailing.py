"""The second channel against a real mail server; STARTTLS and a password are in tests/deploy/test_alertmanager.py."""

import socket

import pytest

from ccmusic.alerting.failures import NotSent
from ccmusic.alerting.mailing import Mail
from support.fake_smtp import FakeSmtp


@pytest.fixture
def smtp():
    with FakeSmtp() as running:
        yield running


@pytest.fixture
def mail(smtp, make_bridge_settings):
    return Mail(
        make_bridge_settings(
            smtp_host="127.0.0.1",
            smtp_port=smtp.port,
            smtp_security="none",
            smtp_from="CCMusic <ccmusic@example.com>",
            smtp_to="a@example.com,b@example.com",
        )
    )


def test_a_mail_arrives(mail, smtp):
    mail.send("[告警 FIRING] CcmusicRed", "原因\ncause 😀\n", 5)
    (taken,) = smtp.mails
    assert taken["Subject"] == "[告警 FIRING] CcmusicRed"
    assert taken["To"] == "a@example.com, b@example.com"
    assert taken["X-Envelope-From"] == "ccmusic@example.com"
    assert taken["X-Envelope-To"] == "a@example.com, b@example.com"
    assert taken["Message-ID"].endswith("@example.com>")
    assert smtp.texts == ["原因\ncause 😀\n"]


def test_a_refused_mail(mail, smtp):
    smtp.refuse = "451 later"
    with pytest.raises(NotSent, match="answered 451"):
        mail.send("s", "t", 5)


def test_no_server_listens(mail, smtp):
    smtp.stop()
    with pytest.raises(NotSent, match="refused"):
        mail.send("s", "t", 5)


def test_no_mail_is_sent_if_required_tls_is_missing(smtp, make_bridge_settings):
    options = {"smtp_host": "127.0.0.1", "smtp_port": smtp.port, "smtp_from": "a@b.c", "smtp_to": "a@b.c"}
    with pytest.raises(NotSent, match="SMTPNotSupportedError"):
        Mail(make_bridge_settings(**options)).send("s", "t", 5)
    assert smtp.mails == []


def test_a_server_that_does_not_answer(make_bridge_settings):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        options = {"smtp_host": "127.0.0.1", "smtp_port": silent.getsockname()[1], "smtp_from": "a", "smtp_to": "b"}
        with pytest.raises(NotSent, match="closed: timed out"):
            Mail(make_bridge_settings(**options)).send("s", "t", 0.2)
