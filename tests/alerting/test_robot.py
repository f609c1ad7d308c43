"""The robot's sender against the stand-in for WeCom, and against what is not WeCom at all."""

import socket
import threading

import pytest

from ccmusic.alerting.failures import NotSent
from ccmusic.alerting.robot import Robot
from support.fake_wecom import KEY
from support.stub_http import stub_http
from support.waiting import PATIENCE_SECONDS


@pytest.fixture
def robot(robot_file):
    return Robot(robot_file)


def not_sent(robot, content="x", timeout_seconds=PATIENCE_SECONDS):
    with pytest.raises(NotSent) as caught:
        robot.send(content, timeout_seconds)
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None  # otherwise a traceback would show the secret
    return caught.value


def test_a_message_arrives_as_markdown(robot, wecom):
    robot.send("**告警** 😀", 5)
    assert wecom.robot_messages == [{"msgtype": "markdown", "markdown": {"content": "**告警** 😀"}}]


def test_the_file_may_contain_only_the_key(tmp_path):
    (tmp_path / "robot").write_text(KEY + "\n")
    parts, key = Robot(tmp_path / "robot").address()
    assert parts.geturl() == f"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={KEY}"
    assert key == KEY


def test_a_new_key_is_read_without_a_restart(robot, robot_file, wecom):
    robot.send("first", 5)
    wecom.key = "another-key-of-the-robot"
    assert not_sent(robot).reason == "rejected"
    robot_file.write_text(wecom.robot_url)
    robot.send("second", 5)
    assert wecom.robot_texts == ["first", "second"]


@pytest.mark.parametrize(
    "content",
    ["", "short", "https://host/no-key", "ftp://host/?key=k", f"https://[/?key={KEY}", f"http://h:x/?key={KEY}"],
)
def test_a_file_without_a_robot(robot, robot_file, content):
    robot_file.write_text(content)
    failure = not_sent(robot)
    assert (failure.reason, failure.final) == ("secret", True)
    assert str(robot_file) in failure.text


def test_a_missing_file(robot, robot_file):
    robot_file.unlink()
    assert "No such file" in not_sent(robot).text


def test_the_address_is_never_shown(robot):
    assert KEY not in repr(robot.address())


@pytest.mark.parametrize(
    ("errcode", "reason", "final"),
    [(45009, "rate_limited", False), (-1, "rejected", False), (93000, "rejected", True), (40058, "rejected", True)],
)
def test_error_codes(robot, wecom, errcode, reason, final):
    wecom.errcode = errcode
    failure = not_sent(robot)
    assert (failure.reason, failure.final) == (reason, final)
    assert f"errcode {errcode}" in failure.text


def test_the_fake_server_enforces_the_limits_of_wecom(robot, wecom):
    robot.send("a" * 4096, 5)
    assert "max length 4096" in not_sent(robot, "中" * 1366).text
    wecom.per_minute = 2
    robot.send("b", 5)
    assert not_sent(robot).reason == "rate_limited"


def test_a_key_in_an_error_message_is_left_out(robot_file):
    answer = {"errcode": 93000, "errmsg": f"invalid webhook url {KEY}"}
    with stub_http(lambda method, path: (200, answer)) as url:
        robot_file.write_text(f"{url}/?key={KEY}")
        assert "***" in not_sent(Robot(robot_file)).text


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ((502, b"<html>bad gateway</html>"), "http_status"),
        ((302, b""), "http_status"),  # following it would send the message elsewhere
        ((200, b"<html>welcome</html>"), "bad_answer"),
        ((200, b"[" * 100_000), "bad_answer"),
        ((200, []), "bad_answer"),
        ((200, {}), "bad_answer"),
        ((200, b""), "bad_answer"),
    ],
)
def test_an_answer_that_is_not_from_wecom(robot_file, reply, reason):
    with stub_http(lambda method, path: reply) as url:
        robot_file.write_text(f"{url}/?key={KEY}")
        failure = not_sent(Robot(robot_file))
    assert (failure.reason, failure.final) == (reason, False)


def test_no_server_listens(robot, wecom):
    wecom.stop()
    failure = not_sent(robot)
    assert failure.reason == "unreachable"
    assert "refused" in failure.text


def test_a_server_that_does_not_answer(robot, wecom):
    wecom.delay_seconds = 2 * PATIENCE_SECONDS
    assert not_sent(robot, timeout_seconds=0.2).reason == "timeout"


@pytest.mark.parametrize(("answer", "reason"), [(b"", "unreachable"), (b"SSH-2.0-OpenSSH\r\n", "bad_answer")])
def test_a_server_of_another_kind(robot_file, answer, reason):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        robot_file.write_text(f"http://127.0.0.1:{listener.getsockname()[1]}/?key={KEY}")
        assert not_sent(Robot(robot_file)).reason == reason
        thread.join()
