"""The body of Alertmanager's webhook, version 4.

References
----------
https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

State = Literal["firing", "resolved"]


class Alert(BaseModel):
    """One alert of a notification.

    Attributes
    ----------
    ends_at : datetime
        Valid only if the alert is resolved; Alertmanager writes the year 1 while it is firing.
    """

    model_config = ConfigDict(frozen=True)

    status: State
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    starts_at: AwareDatetime = Field(alias="startsAt")
    ends_at: AwareDatetime = Field(alias="endsAt")

    @property
    def firing(self) -> bool:
        """Whether it is firing; otherwise it is resolved."""
        return self.status == "firing"

    @property
    def critical(self) -> bool:
        """Whether a person has to act now."""
        return self.labels.get("severity") == "critical"

    @property
    def key(self) -> tuple[object, ...]:
        """Differs from the key of an alert that was already sent if this alert is news."""
        ended: datetime | None = None if self.firing else self.ends_at
        return self.status, tuple(sorted(self.labels.items())), self.starts_at, ended


class Notification(BaseModel):
    """The body of one call of the webhook."""

    model_config = ConfigDict(frozen=True)

    version: Literal["4"]
    status: State
    receiver: str = ""
    group_key: str = Field("", alias="groupKey")
    external_url: str = Field("", alias="externalURL")
    truncated_alerts: int = Field(0, alias="truncatedAlerts", ge=0)
    alerts: Annotated[tuple[Alert, ...], Field(min_length=1)]

    @property
    def key(self) -> tuple[object, ...]:
        """The same for a notification and for Alertmanager's retries of it.

        It is not a hash of the body: annotations contain measured values, which change with each evaluation of a rule
        although the alert is the same.
        """
        return self.receiver, self.group_key, frozenset(alert.key for alert in self.alerts)
