"""Golden texts, and what hostile labels become."""

from datetime import UTC
from zoneinfo import ZoneInfo

import pytest

from alerting.webhooks import alert_body, parsed
from ccmusic.alerting.messages import MARKDOWN_BYTES, Message, mail, markdown

SHANGHAI = ZoneInfo("Asia/Shanghai")
URL = "http://alertmanager:9093"


def message(*bodies, url=URL, n_truncated=0):
    return Message(tuple(map(parsed, bodies)), url, n_truncated)


def hostile(text, **labels):
    body = alert_body(**labels)
    body["labels"] |= {"alertname": text, "instance": text, "severity": text} | labels
    body["annotations"] = dict.fromkeys(("summary", "summary_zh", "description", "description_zh"), text)
    return body


FIRING = """\
🔴 <font color="warning">告警 FIRING</font> **CcmusicRed** 严重 critical
>CCMusic（ccmusic:7860）健康检查未通过：model
>找不到模型文件：/models/a/model.onnx
>CCMusic at ccmusic:7860 is red: model
>Model file not found: /models/a/model.onnx
>实例 Instance: `ccmusic:7860`
>自 Since: <font color="comment">2026-11-24 10:05:03+08:00</font>
>[处理手册 Runbook](https://runbooks.example.com/CcmusicRed.md)
[Alertmanager](http://alertmanager:9093)
<@zhangsan><@li.si>"""

RESOLVED = """\
🟢 <font color="info">已恢复 RESOLVED</font> **CcmusicSlow** 警告 warning
>CCMusic（ccmusic:7860）健康检查未通过：model
>找不到模型文件：/models/a/model.onnx
>CCMusic at ccmusic:7860 is red: model
>Model file not found: /models/a/model.onnx
>实例 Instance: `ccmusic:7860`
>自 Since: <font color="comment">2026-11-24 02:05:03+00:00</font>
>恢复于 Resolved: <font color="comment">2026-11-24 02:10:15+00:00</font>
>历时 Duration: <font color="comment">5 分 12 秒 / 5 min 12 s</font>
>[处理手册 Runbook](https://runbooks.example.com/CcmusicSlow.md)
[Alertmanager](http://alertmanager:9093)"""

MAIL = """\
【告警 FIRING】CcmusicRed 严重 critical
CCMusic（ccmusic:7860）健康检查未通过：model
找不到模型文件：/models/a/model.onnx
CCMusic at ccmusic:7860 is red: model
Model file not found: /models/a/model.onnx
实例 Instance: ccmusic:7860
自 Since: 2026-11-24 10:05:03+08:00
处理手册 Runbook: https://runbooks.example.com/CcmusicRed.md

Alertmanager: http://alertmanager:9093

改用邮件发送的原因：企业微信未接收这条消息。
Sent by mail, because WeCom did not accept this message: unreachable: Connection refused
"""


def test_a_firing_alert_as_markdown():
    assert markdown(message(alert_body()), SHANGHAI, ["zhangsan", "li.si"]) == (FIRING, 0)


def test_a_resolved_alert_has_its_duration_and_no_mention():
    body = alert_body("CcmusicSlow", resolved=True, severity="warning")
    assert markdown(message(body), UTC, ["zhangsan"]) == (RESOLVED, 0)


def test_only_a_firing_critical_alert_mentions():
    for body in (alert_body(resolved=True), alert_body(severity="warning")):
        assert "<@" not in markdown(message(body), SHANGHAI, ["zhangsan"])[0]


def test_an_alert_as_mail():
    words = "unreachable: Connection refused"
    assert mail(message(alert_body()), SHANGHAI, words) == ("[告警 FIRING] CcmusicRed", MAIL)


def test_the_subject_names_three_alerts_and_the_mail_lists_all():
    bodies = [alert_body(f"Alert{number}", resolved=True) for number in range(5)]
    subject, text = mail(message(*bodies, n_truncated=2), SHANGHAI, "timeout")
    assert subject == "[已恢复 RESOLVED] Alert0, Alert1, Alert2 +2"
    assert all(f"Alert{number} " in text for number in range(5))
    assert "2 more alerts are not shown" in text


def test_urgent_alerts_come_first():
    bodies = (
        alert_body("Mended", resolved=True),
        alert_body("Warning", severity="warning"),
        alert_body("Critical"),
    )
    text, _ = markdown(message(*bodies), SHANGHAI)
    assert text.startswith("**CCMusic** 2 条告警 firing · 1 条恢复 resolved\n")
    assert text.index("Critical") < text.index("Warning") < text.index("Mended")


def test_many_alerts_are_shortened_before_any_is_left_out():
    bodies = [alert_body(f"Alert{number}") for number in range(6)]
    for body in bodies:
        body["annotations"]["description"] = "because " * 100
    text, n_left_out = markdown(message(*bodies), SHANGHAI)
    assert n_left_out == 0
    assert all(f"**Alert{number}**" in text for number in range(6))
    assert "…" in text
    assert len(text.encode()) <= MARKDOWN_BYTES


def test_too_many_alerts_are_counted():
    bodies = [alert_body(f"Alert{number}") for number in range(100)]
    text, n_left_out = markdown(message(*bodies, n_truncated=7), SHANGHAI, ["zhangsan"])
    shown = text.count(">自 Since")
    assert n_left_out == 100 - shown
    assert 3 < shown < 20
    assert f"\n另有 {n_left_out + 7} 条告警未列出 {n_left_out + 7} more alerts are not shown\n" in text
    assert text.endswith(f"[Alertmanager]({URL})\n<@zhangsan>")
    assert len(text.encode()) <= MARKDOWN_BYTES


@pytest.mark.parametrize("character", ["a", "中", "😀", "<", "\u202e", "\n", "` "])
@pytest.mark.parametrize("count", [1, 2, 1000])
def test_a_message_is_never_longer_than_wecom_accepts(character, count):
    body = hostile(character * 5000, severity="critical")
    body["annotations"]["runbook_url"] = "https://runbooks.example.com/" + "a" * 460
    url = "https://alertmanager.example.com/" + "a" * 460
    text, n_left_out = markdown(message(*[body] * count, url=url, n_truncated=10**9), SHANGHAI, ["b" * 64] * 30)
    assert len(text.encode()) <= MARKDOWN_BYTES
    assert count - n_left_out >= 1
    assert text.endswith("<@" + "b" * 64 + ">")


@pytest.mark.parametrize(
    "text",
    [
        "<@all>",
        "&lt;@all&gt;",
        "[here](https://evil.example.com)",
        '<font color="info">resolved</font>',
        "a\n# RESOLVED\n>all is well",
        "a\r\n**bold** `code`",
        "a\u2028# b\u2029> c\x00\x1b[31m\u202e\u200b",
        "\\",
        "[a](javascript:alert(1))",
    ],
)
def test_a_label_cannot_inject_markup_or_a_mention(text):
    told, _ = markdown(message(hostile(text)), SHANGHAI, ["zhangsan"])
    plain, _ = markdown(message(hostile("word")), SHANGHAI, ["zhangsan"])
    for markup in "<>[]*`#&\\\n\r\u2028\u2029\x00\x1b\u202e\u200b":
        assert told.count(markup) == plain.count(markup), repr(markup)


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "/CcmusicRed.md", "https://", "https://[", "ftp://host/a", "https://e.com/" + "a" * 600],
)
def test_an_invalid_address_becomes_no_link(url):
    body = alert_body()
    body["annotations"]["runbook_url"] = url
    text, _ = markdown(message(body, url=url), SHANGHAI)
    assert "](" not in text
    assert ">处理手册 Runbook: " in text


def test_an_address_does_not_end_its_link_early():
    body = alert_body()
    body["annotations"]["runbook_url"] = "https://e.com/a)<@all>[b](c\nd e"
    text, _ = markdown(message(body), SHANGHAI)
    assert ">[处理手册 Runbook](https://e.com/a%29%3C@all%3E%5Bb%5D%28c%0Ad%20e)" in text


def test_an_alert_without_labels_or_annotations():
    body = {"status": "firing", "labels": {}, "startsAt": "0001-01-01T00:00:00Z", "endsAt": "0001-01-01T00:00:00Z"}
    text, _ = markdown(message(body, url=""), ZoneInfo("America/New_York"))
    assert text == (
        '🔴 <font color="warning">告警 FIRING</font> **?**\n'
        '>自 Since: <font color="comment">0001-01-01 00:00:00+00:00</font>'
    )


@pytest.mark.parametrize(
    ("until", "words"),
    [
        ("2026-11-24T02:05:03Z", "0 秒 / 0 s"),
        ("2026-11-24T02:00:00Z", "0 秒 / 0 s"),  # clocks differ
        ("2026-11-24T02:05:48Z", "45 秒 / 45 s"),
        ("2026-11-24T02:07:03Z", "2 分 / 2 min"),
        ("2026-11-24T04:06:03Z", "2 小时 1 分 / 2 h 1 min"),
        ("2026-11-27T05:05:03Z", "3 天 3 小时 / 3 d 3 h"),
    ],
)
def test_durations(until, words):
    text, _ = markdown(message(alert_body(resolved=True) | {"endsAt": until}), SHANGHAI)
    assert f'>历时 Duration: <font color="comment">{words}</font>' in text
