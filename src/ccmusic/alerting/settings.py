"""The bridge's settings: one frozen record. Flags override ``CCMUSIC_BRIDGE_*`` variables, those the defaults."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from ccmusic.errors import InvalidSettings
from ccmusic.health.addresses import is_loopback
from ccmusic.process.environment import EnvironmentSettings
from ccmusic.process.service_links import is_service_link

PREFIX = "CCMUSIC_BRIDGE_"
ROBOT_API = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send"

_USER_ID = re.compile(r"[A-Za-z0-9_.@-]{1,64}")

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Texts = Annotated[tuple[str, ...], NoDecode]
"""In a variable, separated by commas."""


class BridgeSettings(EnvironmentSettings):
    """All settings of `ccmusic wecom-bridge`; each field is a flag and a variable."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True, hide_input_in_errors=True
    )

    host: str = Field(
        "127.0.0.1", description="Address to listen on; one that other machines reach needs a token_file."
    )
    port: Port = Field(7861, description="Port; 0 lets the system choose one.")
    token_file: Path | None = Field(None, description="File with the bearer token that /alerts and /heartbeat require.")

    robot_url_file: Path = Field(
        description="File with the group robot's key or its whole webhook URL; read again for every message."
    )
    mention: Texts = Field((), description="WeCom user ids that a critical alert mentions; `all` for the whole group.")
    timezone: str = Field("Asia/Shanghai", description="Time zone of the times in messages.")
    deadline_seconds: Seconds = Field(
        30.0, description="How long the robot is tried before the second channel gets the message."
    )
    per_minute: Annotated[int, Field(ge=1, le=20)] = Field(20, description="Messages to the robot in a minute.")
    remember_seconds: Annotated[float, Field(ge=0)] = Field(
        600.0,
        description="A delivered notification that is repeated within this time is not sent again; "
        "shorter than Alertmanager's repeat_interval.",
    )
    heartbeat_seconds: Annotated[float, Field(ge=0)] = Field(
        300.0, description="Time without a watchdog alert after which its loss is reported; 0: none is expected."
    )

    smtp_host: str | None = Field(
        None, description="Mail server of the second channel; without it there is no second channel."
    )
    smtp_port: Port = Field(587, description="Its port.")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="`tls` from the first byte (port 465), `starttls` (587), or `none` inside one network."
    )
    smtp_from: str | None = Field(None, description="Sender.")
    smtp_to: Texts = Field((), description="Recipients.")
    smtp_user: str | None = Field(None, description="User, if the server requires one.")
    smtp_password_file: Path | None = Field(None, description="File with the user's password.")

    @field_validator("mention", "smtp_to", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(filter(None, (word.strip() for word in value.split(",")))) if isinstance(value, str) else value

    @field_validator("mention")
    @classmethod
    def _user_ids(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for word in value:
            if not _USER_ID.fullmatch(word):
                raise ValueError("a WeCom user id has letters, digits and . _ - @, 64 at most")
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"unknown time zone {value!r}; is tzdata installed on this machine?") from None
        return value

    @model_validator(mode="after")
    def _whole_second_channel(self) -> BridgeSettings:
        if self.smtp_host is None:
            return self
        if not self.smtp_from or not self.smtp_to:
            raise ValueError("smtp_host needs smtp_from and smtp_to")
        if (self.smtp_user is None) != (self.smtp_password_file is None):
            raise ValueError("smtp_user and smtp_password_file must be set together")
        if self.smtp_user is not None and self.smtp_security == "none":
            raise ValueError("a password is not sent in clear: smtp_security must be starttls or tls")
        return self

    @model_validator(mode="after")
    def _no_strangers(self) -> BridgeSettings:
        if self.token_file is None and not is_loopback(self.host):
            raise ValueError(f"host {self.host} can be reached from other machines: set token_file, or host 127.0.0.1")
        return self

    @property
    def zone(self) -> ZoneInfo:
        """Time zone of the times in messages."""
        return ZoneInfo(self.timezone)


def read_bridge_settings(**overrides: Any) -> BridgeSettings:
    """Read the configuration; keyword arguments are the flags of the command line.

    Raises
    ------
    InvalidSettings
        A value is not allowed or missing, or a ``CCMUSIC_BRIDGE_*`` variable is unknown; the text names it.
    """
    for name, value in os.environ.items():
        known = not name.startswith(PREFIX) or name.removeprefix(PREFIX).lower() in BridgeSettings.model_fields
        if not known and not is_service_link(name, value):
            raise InvalidSettings(f"{name}: unknown setting; `ccmusic wecom-bridge --help` lists them")
    try:
        return BridgeSettings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        names = [f"{PREFIX}{str(part).upper()}" for part in first["loc"][:1]]
        raise InvalidSettings(": ".join([*names, first["msg"]])) from error
