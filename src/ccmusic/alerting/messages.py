"""Text of alerts: WeCom's markdown for the group robot, plain text for mail. Chinese first, then English.

Labels and annotations contain text from rules and targets, and names of files inside causes. None of it may be
interpreted as markup, a link or a mention.

References
----------
https://developer.work.weixin.qq.com/document/path/91770 (group robots: markdown, colours, limits)
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, tzinfo
from urllib.parse import quote, urlsplit

from ccmusic.alerting.notification import Alert

MARKDOWN_BYTES = 4096
"""Limit of a robot's markdown message, in bytes of UTF-8; WeCom refuses longer ones with 40058."""
MAX_MENTIONS = 10
MAX_URL_CHARACTERS = 500
_LENGTHS = (500, 200, 60)
"""Maximum characters of one text. The shorter limits are tried before alerts are left out. With the last one, an alert
with its runbook, a link and every mention always fits."""

_MAX_TEXT = 4000
"""Maximum characters of one text in a mail, for the sake of the reader."""

_STATES = {"firing": ("🔴", "warning", "告警 FIRING"), "resolved": ("🟢", "info", "已恢复 RESOLVED")}
_SEVERITIES = {"critical": "严重 critical", "warning": "警告 warning"}
_TEXTS = ("summary_zh", "description_zh", "summary", "description")

# WeCom documents no escaping; the full-width forms look alike and have no meaning in its markdown.
_WIDE = str.maketrans({character: chr(ord(character) + 0xFEE0) for character in "<>[]*`#&\\"})


@dataclass(frozen=True, slots=True)
class Message:
    """One or more alerts to send, independent of the channel.

    Attributes
    ----------
    alerts : tuple of Alert
    external_url : str
        Alertmanager's address; empty if unknown.
    n_truncated : int
        Number of alerts that Alertmanager itself left out.
    """

    alerts: tuple[Alert, ...]
    external_url: str = ""
    n_truncated: int = 0

    def __add__(self, other: Message) -> Message:
        return Message(
            self.alerts + other.alerts,
            self.external_url or other.external_url,
            self.n_truncated + other.n_truncated,
        )

    @property
    def critical(self) -> bool:
        """Whether a critical alert is firing."""
        return any(alert.firing and alert.critical for alert in self.alerts)

    @property
    def in_order(self) -> list[Alert]:
        """The alerts, most urgent first."""
        return sorted(self.alerts, key=lambda alert: (not alert.firing, not alert.critical))


def markdown(
    message: Message, zone: tzinfo, mention: Sequence[str] = (), limit: int = MARKDOWN_BYTES
) -> tuple[str, int]:
    """Format a message for the group robot.

    Parameters
    ----------
    message : Message
    zone : tzinfo
        Time zone of the times shown.
    mention : sequence of str
        User ids to mention if a critical alert is firing.
    limit : int
        Maximum bytes of UTF-8.

    Returns
    -------
    content : str
        Never longer than the limit.
    n_left_out : int
        Number of alerts that did not fit; the content states it.
    """
    alerts = message.in_order
    head = [_title(alerts)] if len(alerts) > 1 else []
    foot = [f"[Alertmanager]({url})"] if (url := _link(message.external_url)) else []
    if message.critical and mention:
        foot.append("".join(f"<@{user}>" for user in mention[:MAX_MENTIONS]))

    def content(blocks: Sequence[str]) -> str:
        n_hidden = len(alerts) - len(blocks) + message.n_truncated
        hidden = [f"另有 {n_hidden} 条告警未列出 {n_hidden} more alerts are not shown"] if n_hidden else []
        return "\n".join([*head, "\n\n".join(blocks), *hidden, *foot])

    blocks: list[str] = []
    for max_characters in _LENGTHS:
        blocks = _blocks(alerts, zone, max_characters, limit)
        if len(blocks) == len(alerts) and _size(whole := content(blocks)) <= limit:
            return whole, 0
    while len(blocks) > 1 and _size(content(blocks)) > limit:
        blocks.pop()
    return content(blocks), len(alerts) - len(blocks)


def mail(message: Message, zone: tzinfo, reason: str) -> tuple[str, str]:
    """Format a message for the second channel.

    Parameters
    ----------
    message : Message
    zone : tzinfo
    reason : str
        Why WeCom did not accept it.

    Returns
    -------
    subject, text : str
    """
    alerts = message.in_order
    names = list(dict.fromkeys(_clean(_name(alert), 60) for alert in alerts))
    more = f" +{len(names) - 3}" if len(names) > 3 else ""
    state = _STATES["firing" if any(alert.firing for alert in alerts) else "resolved"][2]
    subject = f"[{state}] {', '.join(names[:3])}{more}"
    parts = ["\n".join(_plain_lines(alert, zone)) for alert in alerts]
    if message.n_truncated:
        parts.append(f"另有 {message.n_truncated} 条告警未列出 {message.n_truncated} more alerts are not shown")
    if message.external_url:
        parts.append(f"Alertmanager: {_clean(message.external_url, MAX_URL_CHARACTERS)}")
    parts.append(
        "改用邮件发送的原因：企业微信未接收这条消息。\n"
        f"Sent by mail, because WeCom did not accept this message: {reason}"
    )
    return subject, "\n\n".join(parts) + "\n"


def _title(alerts: Iterable[Alert]) -> str:
    states = [alert.firing for alert in alerts]
    counts = [(sum(states), "条告警 firing"), (len(states) - sum(states), "条恢复 resolved")]
    return "**CCMusic** " + " · ".join(f"{count} {words}" for count, words in counts if count)


def _blocks(alerts: Iterable[Alert], zone: tzinfo, max_characters: int, limit: int) -> list[str]:
    """Text of each alert, up to the first that exceeds the limit."""
    blocks: list[str] = []
    size = 0
    for alert in alerts:
        blocks.append("\n".join(_markdown_lines(alert, zone, max_characters)))
        size += _size(blocks[-1])
        if size > limit:
            break
    return blocks


def _markdown_lines(alert: Alert, zone: tzinfo, max_characters: int) -> list[str]:
    def text(value: str) -> str:
        return _clean(value, max_characters).translate(_WIDE)

    sign, colour, state = _STATES[alert.status]
    severity = alert.labels.get("severity", "")
    lines = [
        f'{sign} <font color="{colour}">{state}</font> **{text(_name(alert))}** '
        f"{_SEVERITIES.get(severity) or text(severity)}".rstrip()
    ]
    lines += [f">{text(value)}" for value in _texts(alert)]
    if instance := alert.labels.get("instance"):
        lines.append(f">实例 Instance: `{text(instance)}`")
    lines += [f'>{label}: <font color="comment">{value}</font>' for label, value in _times(alert, zone)]
    if runbook := alert.annotations.get("runbook_url"):
        url = _link(runbook)
        lines.append(f">[处理手册 Runbook]({url})" if url else f">处理手册 Runbook: {text(runbook)}")
    return lines


def _plain_lines(alert: Alert, zone: tzinfo) -> list[str]:
    severity = alert.labels.get("severity", "")
    state = _STATES[alert.status][2]
    severity = _SEVERITIES.get(severity) or _clean(severity, _MAX_TEXT)
    lines = [f"【{state}】{_clean(_name(alert), _MAX_TEXT)} {severity}"]
    lines += [_clean(value, _MAX_TEXT) for value in _texts(alert)]
    if instance := alert.labels.get("instance"):
        lines.append(f"实例 Instance: {_clean(instance, _MAX_TEXT)}")
    lines += [f"{label}: {value}" for label, value in _times(alert, zone)]
    if runbook := alert.annotations.get("runbook_url"):
        lines.append(f"处理手册 Runbook: {_clean(runbook, _MAX_TEXT)}")
    return lines


def _name(alert: Alert) -> str:
    return alert.labels.get("alertname") or "?"


def _texts(alert: Alert) -> list[str]:
    return [value for name in _TEXTS if (value := alert.annotations.get(name, "").strip())]


def _times(alert: Alert, zone: tzinfo) -> list[tuple[str, str]]:
    times = [("自 Since", _time(alert.starts_at, zone))]
    if not alert.firing:
        times.append(("恢复于 Resolved", _time(alert.ends_at, zone)))
        times.append(("历时 Duration", _duration((alert.ends_at - alert.starts_at).total_seconds())))
    return times


def _time(moment: datetime, zone: tzinfo) -> str:
    with suppress(OverflowError):  # beyond the first or the last day that datetime can represent
        moment = moment.astimezone(zone)
    return moment.isoformat(sep=" ", timespec="seconds")


def _duration(seconds: float) -> str:
    """The two largest units: ``1 小时 5 分 / 1 h 5 min``."""
    left = max(0, round(seconds))
    counts: list[tuple[int, str, str]] = []
    for unit, chinese, english in ((86_400, "天", "d"), (3600, "小时", "h"), (60, "分", "min"), (1, "秒", "s")):
        count, left = divmod(left, unit)
        if count or counts or unit == 1:
            counts.append((count, chinese, english))
    shown = [entry for entry in counts[:2] if entry[0]] or counts[:1]
    words = " ".join(f"{count} {chinese}" for count, chinese, _ in shown)
    return f"{words} / {' '.join(f'{count} {english}' for count, _, english in shown)}"


def _clean(text: str, max_characters: int) -> str:
    """One line of limited length, without control, format or other invisible characters."""
    line = " ".join(text[:_MAX_TEXT].split())
    line = "".join(character for character in line if unicodedata.category(character)[0] != "C")
    return line if len(line) <= max_characters else line[: max_characters - 1] + "…"


def _link(url: str) -> str | None:
    """The URL if it is HTTP(S), quoted so that it cannot end a markdown link early; None otherwise."""
    try:
        parts = urlsplit(url)
        found = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return None
    quoted = quote(url, safe=":/?#@!$&'+,;=%~-._")
    return quoted if found and len(quoted) <= MAX_URL_CHARACTERS else None


def _size(text: str) -> int:
    return len(text.encode())
