"""Configuration: one frozen record, from ``CCMUSIC_*`` variables over a file over defaults, checked at start.

The file is TOML and is named by ``CCMUSIC_CONFIG``; its keys are the field names below.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from ccmusic.audio.waveform import DecodeLimits
from ccmusic.errors import InvalidSettings

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]

_LIMITS = DecodeLimits()


def _default_workers() -> int:
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ccmusic"


class Settings(BaseSettings):
    """Everything an operator can set; each field is the variable ``CCMUSIC_<FIELD>`` in capitals."""

    model_config = SettingsConfigDict(
        env_prefix="CCMUSIC_", frozen=True, extra="forbid", env_ignore_empty=True, hide_input_in_errors=False
    )

    # where it listens
    host: str = Field(
        "0.0.0.0",  # noqa: S104  a probe or another container must reach it
        description="Address to listen on; 127.0.0.1 keeps it to this machine.",
    )
    port: Port = Field(7860, description="Port of the page and the API; 0 lets the system choose one.")
    page: bool = Field(True, description="Serve the Gradio page at /; off leaves the API alone.")
    root_path: str = Field("", description="Path prefix under which a reverse proxy serves this.")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    management_port: Port | None = Field(
        None,
        description="Port of a second socket, on a thread of its own, for the probes and the metrics; off unless set.",
    )
    management_host: str = Field(
        "0.0.0.0",  # noqa: S104  a kubelet must reach it
        description="Address of the management port.",
    )

    # the model
    model: str = Field(
        "embedded",
        description="`embedded`; a model directory with card.json; a checkpoint such as ./vgg19_bn_cqt/save.pt; "
        "or one on a hub, such as ccmusic-database/music_genre.",
    )
    precision: Literal["auto", "float32", "bfloat16", "int8"] = Field(
        "auto", description="What the network computes in; auto takes what the model's card says runs."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where the network runs; auto takes a GPU if ONNX Runtime can use one here."
    )
    model_cache: Path = Field(
        default_factory=_default_cache, description="Directory of models made from checkpoints, and of fetched ones."
    )
    import_timeout_seconds: Seconds = Field(
        1800.0, description="Longest time for fetching a checkpoint and making a model of it."
    )
    import_audio: Path | None = Field(
        None,
        description="Directory of recordings by which an imported model's precisions are measured; else our examples.",
    )
    hub_endpoint: str | None = Field(
        None,
        description="Mirror to fetch models from, http(s)://host; else HF_ENDPOINT, MODELSCOPE_ENDPOINT, the hub.",
    )
    hub_token_to_mirror: bool = Field(
        False, description="Shows HF_TOKEN or MODELSCOPE_API_TOKEN to a mirror too, not only to the hub itself."
    )
    hub_offline: bool = Field(False, description="Never ask a hub; only what was fetched before is used.")
    model_repository: Path | None = Field(
        None, description="Directory of model directories that an admin may switch to by name; off unless set."
    )
    swap_min_agreement: Share = Field(
        0.5, description="A new model that names the same genre for a smaller share of recent inputs is refused."
    )
    swap_max_slowdown: Annotated[float, Field(gt=0)] = Field(
        3.0, description="A new model that takes more than so many times the old one's time is refused."
    )
    model_hash_seconds: Seconds = Field(60.0, description="How often the model file on disk is hashed again.")

    # who may do what
    admin_token: SecretStr | None = Field(
        None, description="Bearer token of admin calls (switching models, injecting faults); they are closed without."
    )
    admin_token_file: Path | None = Field(None, description="File that holds the admin token.")
    fault_injection: bool = Field(
        False, description="Lets the holder of the admin token inject faults, to try the detectors. Not for production."
    )
    faults: str = Field(
        "", description="Faults, with commas between, that hold for every worker from its start; with fault_injection."
    )

    # the work
    workers: Annotated[int, Field(ge=1, le=256)] = Field(
        default_factory=_default_workers, description="Worker processes; one job at a time each."
    )
    threads_per_worker: Annotated[int, Field(ge=1, le=256)] = Field(1, description="Threads of the network's runtime.")
    worker_niceness: Annotated[int, Field(ge=0, le=19)] = Field(
        5, description="Niceness of the workers, so that probes are answered while every core computes."
    )
    max_queue: Annotated[int, Field(ge=1, le=100_000)] = Field(
        64, description="Jobs waiting or running beyond which a request is refused."
    )
    max_wait_seconds: Seconds = Field(
        30.0,
        description="Longest wait for a worker: refused at once if it would be longer, dropped when it becomes so.",
    )
    job_timeout_seconds: Seconds = Field(
        120.0, description="A job that runs longer is stopped and its worker replaced."
    )
    request_timeout_seconds: Seconds = Field(
        150.0, description="Longest time from accepting a request to its answer, retries included."
    )
    upload_timeout_seconds: Seconds = Field(120.0, description="Longest time that a request may take to arrive.")
    upload_idle_seconds: Seconds = Field(
        15.0, description="Longest silence of a client in the middle of its request; also the time for its first line."
    )
    drain_seconds: Seconds = Field(
        30.0, description="After SIGTERM: longest time for what was accepted to be answered."
    )
    drain_linger_seconds: Annotated[float, Field(ge=0)] = Field(
        1.0, description="After SIGTERM: least time that requests are still taken, while /readyz already says 503."
    )

    # supervision
    heartbeat_seconds: Seconds = Field(
        1.0, description="A worker whose heart has not beaten for so long is dumped, killed and replaced."
    )
    load_timeout_seconds: Seconds = Field(120.0, description="Longest time for a worker to load its model.")
    self_test_seconds: Seconds = Field(
        10.0, description="How often each worker is asked the golden clips; a worker at work is left alone."
    )
    quarantine_seconds: Seconds = Field(
        3600.0, description="How long a recording that ended two workers is refused at once."
    )
    recycle_growth_bytes: Annotated[int, Field(ge=1)] = Field(
        1024 * 2**20, description="A worker that has grown by so much is replaced after its job."
    )
    max_loop_lag_seconds: Seconds = Field(
        2.0, description="/livez is false when the HTTP loop has not turned for so long."
    )
    max_error_share: Share = Field(
        0.5, description="/readyz is false when more of the last answers than this were internal errors."
    )
    explain_windows: Annotated[int, Field(ge=0, le=100)] = Field(
        3,
        description="Windows that one request may have explained; each costs seventy answers of the network, or "
        "twenty-one where it is shown a drawing. 0 turns explaining off.",
    )
    drift_recordings: Annotated[int, Field(ge=0)] = Field(
        10_000,
        description="So many recordings like those of the model's training, or more, pass on average until a false "
        "warning of drift; fewer warn sooner of the true ones. 0 never warns.",
    )
    last_replica: bool = Field(
        False, description="This replica has no others beside it: many internal errors turn /health red, not /readyz."
    )

    # what is accepted
    max_upload_bytes: Annotated[int, Field(ge=1)] = Field(_LIMITS.max_bytes, description="Largest recording, in bytes.")
    max_seconds: Annotated[float, Field(gt=0)] = Field(
        _LIMITS.max_seconds, description="Longest recording, in seconds of sound."
    )
    max_channels: Annotated[int, Field(ge=1)] = Field(_LIMITS.max_channels, description="Most channels.")
    min_sample_rate: Annotated[int, Field(ge=1)] = Field(
        _LIMITS.min_sample_rate, description="Lowest sample rate, in Hz."
    )
    max_sample_rate: Annotated[int, Field(ge=1)] = Field(
        _LIMITS.max_sample_rate, description="Highest sample rate, in Hz."
    )
    max_windows: Annotated[int, Field(ge=1)] = Field(1000, description="Largest `windows` a request may ask for.")

    @field_validator("port", mode="before")
    @classmethod
    def _not_a_service_link(cls, value: Any) -> Any:
        # Kubernetes puts CCMUSIC_PORT=tcp://10.0.0.1:7860 into every pod beside a Service named ccmusic.
        return cls.model_fields["port"].default if isinstance(value, str) and "://" in value else value

    @property
    def faults_at_start(self) -> tuple[str, ...]:
        """The names in `faults`; none unless faults may be injected."""
        return tuple(filter(None, self.faults.split(","))) if self.fault_injection else ()

    @property
    def admin_secret(self) -> str | None:
        """The admin token, from its setting or its file; None closes the admin calls."""
        if self.admin_token is not None:
            return self.admin_token.get_secret_value()
        if self.admin_token_file is not None:
            return self.admin_token_file.read_text(encoding="utf-8").strip() or None
        return None

    @property
    def decode_limits(self) -> DecodeLimits:
        """The bounds that every recording is decoded under."""
        return DecodeLimits(
            max_bytes=self.max_upload_bytes,
            max_channels=self.max_channels,
            min_sample_rate=self.min_sample_rate,
            max_sample_rate=self.max_sample_rate,
            max_seconds=self.max_seconds,
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line over environment over file over defaults."""
        sources = [init_settings, env_settings]
        if path := os.environ.get("CCMUSIC_CONFIG"):
            sources.append(TomlConfigSettingsSource(settings_cls, Path(path)))
        return tuple(sources)


def asked_precision(settings: Settings) -> Literal["float32", "bfloat16", "int8"] | None:
    """The precision that is asked for; None leaves it to the model's card."""
    return None if settings.precision == "auto" else settings.precision


def read_settings(**overrides: Any) -> Settings:
    """Read the configuration; what the command line set comes as keyword arguments.

    Raises
    ------
    InvalidSettings
        A value is not allowed, or a ``CCMUSIC_*`` variable or a key of the file is unknown; the text names it.
    """
    _refuse_unknown_variables()
    path = os.environ.get("CCMUSIC_CONFIG")
    if path and not Path(path).is_file():
        raise InvalidSettings(f"CCMUSIC_CONFIG: no such file: {path}")
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        raise InvalidSettings(f"CCMUSIC_{name.upper()}: {first['msg']} (it is {first.get('input')!r})") from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidSettings(f"CCMUSIC_CONFIG: {path} is not TOML: {error}") from error


_OTHERS = ("CCMUSIC_BRIDGE_", "CCMUSIC_TEST_")
"""Variables of the bridge to WeCom, which has its own check, and of the test suite."""

_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT)(_\w+)?$|_PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?$")
"""What Kubernetes puts into a pod's environment for a Service whose name begins with ccmusic."""


def _refuse_unknown_variables() -> None:
    """A misspelt variable would otherwise be ignored in silence, and the default believed to be what was asked for."""
    known = {f"CCMUSIC_{name.upper()}" for name in Settings.model_fields} | {"CCMUSIC_CONFIG"}
    for name in os.environ:
        ours = name.startswith("CCMUSIC_") and not name.startswith(_OTHERS)
        if ours and name not in known and not _SERVICE_LINK.search(name):
            raise InvalidSettings(f"{name}: there is no such setting; `ccmusic settings` lists them")
