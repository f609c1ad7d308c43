"""Bodies as Alertmanager's webhook sends them."""

from __future__ import annotations

from typing import Any

from ccmusic.alerting.notification import Alert

SINCE = "2026-11-24T02:05:03.123456789Z"  # Go writes nanoseconds
UNTIL = "2026-11-24T02:10:15Z"
NEVER = "0001-01-01T00:00:00Z"


def alert_body(name: str = "CcmusicRed", *, resolved: bool = False, **labels: str) -> dict[str, Any]:
    """One alert of the shipped rules."""
    return {
        "status": "resolved" if resolved else "firing",
        "labels": {
            "alertname": name,
            "instance": "ccmusic:7860",
            "service": "ccmusic",
            "severity": "critical",
        }
        | labels,
        "annotations": {
            "summary": "CCMusic at ccmusic:7860 is red: model",
            "summary_zh": "CCMusic（ccmusic:7860）健康检查未通过：model",
            "description": "Model file not found: /models/a/model.onnx",
            "description_zh": "找不到模型文件：/models/a/model.onnx",
            "runbook_url": f"https://runbooks.example.com/{name}.md",
        },
        "startsAt": SINCE,
        "endsAt": UNTIL if resolved else NEVER,
        "generatorURL": "http://prometheus:9090/graph",
        "fingerprint": "0123456789abcdef",
    }


def webhook_body(*alerts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """One notification."""
    alerts = alerts or (alert_body(),)
    return {
        "version": "4",
        "groupKey": '{}:{alertname="CcmusicRed"}',
        "truncatedAlerts": 0,
        "status": "firing" if any(alert["status"] == "firing" for alert in alerts) else "resolved",
        "receiver": "wecom",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
        "alerts": list(alerts),
    } | fields


def parsed(body: dict[str, Any]) -> Alert:
    """One alert as the bridge sees it."""
    return Alert.model_validate(body)
