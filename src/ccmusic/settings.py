"""The configuration: one frozen record, checked at the start.

A ``CCMUSIC_*`` variable takes precedence over the file, and the file over the default. The file is TOML and is named by
``CCMUSIC_CONFIG``; its keys are the field names below. ``ccmusic settings --markdown`` prints docs/settings.md.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import tomllib
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from ccmusic.audio.limits import DecodeLimits
from ccmusic.errors import InvalidSettings
from ccmusic.process.environment import EnvironmentSettings
from ccmusic.process.secret_file import read_secret
from ccmusic.process.service_links import is_service_link

LONGEST = 1_000_000
"""Longest time of a setting in seconds, 11 days: the system's calls that wait refuse more than 24 days."""
LOCAL_FACTOR = 5.0
"""So much more processor time may decoding a local file take than an upload."""

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=LONGEST)]
Share = Annotated[float, Field(ge=0, le=1)]

_LIMITS = DecodeLimits()


def _default_workers() -> int:
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _default_cache() -> Path:
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named) / "ccmusic"
    home: Path | None = None
    with suppress(RuntimeError):  # a user id that the system does not know, without HOME
        home = Path.home()
    if home is None or (home == Path("/") and not os.access(home, os.W_OK)):  # containers set HOME=/ for such a user
        return Path(tempfile.gettempdir()) / f"ccmusic-cache-{os.getuid()}"
    return home / ".cache" / "ccmusic"


class Settings(EnvironmentSettings):
    """Everything that an operator can set. Each field is a variable: ``port`` is ``CCMUSIC_PORT``."""

    model_config = SettingsConfigDict(
        env_prefix="CCMUSIC_", frozen=True, extra="forbid", env_ignore_empty=True, hide_input_in_errors=False
    )

    host: str = Field(
        "0.0.0.0",  # noqa: S104  probes and other containers must reach it
        description="Address to listen on. With 127.0.0.1 only this machine can connect.",
    )
    port: Port = Field(7860, description="Port of the page and the API; 0 lets the system choose one.")
    page: bool = Field(
        True,
        description="Whether the page is served at `/`. Without it only the API is served. If the extra `page` is not "
        "installed, `/health` warns; if this is set to true, it fails.",
    )
    page_start_seconds: Seconds = Field(
        300.0, description="`/health` fails if the page has not started after this time. The start continues."
    )
    page_check_seconds: Seconds = Field(
        2.0, description="Time between two checks of the page: its upload directory, and the tasks of Gradio."
    )
    page_stop_seconds: Seconds = Field(
        5.0, description="Longest time to wait for the end of the page when the service ends."
    )
    max_connections: Annotated[int, Field(ge=8, le=1_000_000)] = Field(
        1000,
        description="Most open connections, and fewer if the limit on descriptors (`ulimit -n`) does not allow as "
        "many. At the limit, the connection that has been idle for the longest time is closed for a new one.",
    )
    root_path: str = Field("", description="Path prefix under which a reverse proxy serves the page and the API.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least important messages that are logged."
    )
    management_port: Port | None = Field(
        None,
        description="Port of a second server, on its own thread, for the probes and the metrics. There is none unless "
        "it is set.",
    )
    management_host: str = Field(
        "0.0.0.0",  # noqa: S104  a kubelet must reach it
        description="Address of the management port.",
    )

    max_connections_per_client: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        100,
        description="Most open connections of one client: an IPv4 address, or the first 64 bits of an IPv6 address. At "
        "this number, the one of them that has been idle for the longest time is closed for a new one. Does not apply "
        "to `trusted_proxies`.",
    )
    max_event_streams: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        300, description="Most event streams of the page; an open tab of a browser has one or two."
    )
    max_event_streams_per_client: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        50, description="Most event streams of one client."
    )
    page_requests_per_second: Annotated[float, Field(ge=0, le=1_000_000)] = Field(
        20.0,
        description="Most requests of one client that Gradio itself must answer, not for a file; an open tab sends "
        "less than one in a second. Those of five seconds may come at once. 0: no limit.",
    )
    send_idle_seconds: Seconds = Field(
        30.0,
        description="A client that reads less than 1 KiB/s of its answer for this time is disconnected.",
    )
    trusted_proxies: str = Field(
        "",
        description="Addresses and networks of the proxies in front, such as `127.0.0.1, 10.0.0.0/8`. Only from these "
        "are `X-Forwarded-For`, `-Proto` and `-Host` believed. Everybody else's are ignored.",
    )
    trusted_hosts: str = Field(
        "",
        description="Names under which the page and the API may be called, such as `music.example.org, *.example.net`. "
        "Not set: every name. Probes and metrics are answered under every name.",
    )
    frame_ancestors: str = Field(
        "'none'",
        description="Which sites may show the page in a frame: `'none'`, `'self'`, or origins such as "
        "`https://example.org` with spaces between them.",
    )
    api_keys_file: Path | None = Field(
        None,
        description="File with API keys: in each line a name, a key of at least 16 characters and, optionally, a "
        "number of recordings in a minute. A client sends `Authorization: Bearer KEY`, and then counts by its name.",
    )
    api_keys_required: bool = Field(
        False,
        description="Whether recordings that are sent to the API need a key. The page needs none: see `page`.",
    )
    recordings_per_minute: Annotated[float, Field(ge=0, le=1_000_000)] = Field(
        0.0, description="Most recordings of one client in a minute, if its key says nothing else; 0: no limit."
    )

    model: str = Field(
        "embedded",
        description="`embedded`; a model directory with `card.json`; a checkpoint such as `./vgg19_bn_cqt/save.pt`; "
        "or a checkpoint on a hub, such as `ccmusic-database/music_genre`.",
    )
    precision: Literal["auto", "float32", "bfloat16", "int8"] = Field(
        "auto", description="What the network computes in. `auto` takes the precision that the model's card names."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where the network runs. `auto` takes a GPU if ONNX Runtime can use one."
    )
    model_cache: Path = Field(
        default_factory=_default_cache, description="Directory of fetched checkpoints and imported models."
    )
    import_timeout_seconds: Annotated[float, Field(ge=1, le=LONGEST)] = Field(
        1800.0, description="Longest time to fetch and import a checkpoint."
    )
    import_audio: Path | None = Field(
        None,
        description="Directory of recordings on which the precisions of an imported model are measured. By default the "
        "example recordings of this package.",
    )
    hub_endpoint: str | None = Field(
        None,
        description="Mirror to fetch checkpoints from, such as `https://host`. By default `HF_ENDPOINT`, "
        "`MODELSCOPE_ENDPOINT`, or the hub itself.",
    )
    hub_token_to_mirror: bool = Field(
        False, description="Whether `HF_TOKEN` or `MODELSCOPE_API_TOKEN` is also sent to a mirror, not only to the hub."
    )
    hub_offline: bool = Field(False, description="Never connect to a hub; use only what was fetched before.")
    model_repository: Path | None = Field(
        None, description="Directory of model directories. An admin can switch to one of them by its name."
    )
    swap_min_agreement: Share = Field(
        0.5,
        description="Least share of the recent recordings for which a new model must name the same genre. Else it is "
        "refused.",
    )
    swap_max_slowdown: Annotated[float, Field(gt=0)] = Field(
        3.0, description="A new model that is slower than the old one by more than this factor is refused."
    )
    model_hash_seconds: Seconds = Field(60.0, description="Time between two checks of the model file's hash on disk.")

    admin_token: SecretStr | None = Field(
        None,
        description="Bearer token for admin requests (switch the model, inject faults). Without it they are refused.",
    )
    admin_token_file: Path | None = Field(None, description="File that contains the admin token.")
    fault_injection: bool = Field(
        False,
        description="Whether faults may be injected with the admin token, to test the detectors. Not for production.",
    )
    faults: str = Field(
        "",
        description="Faults that every worker has from its start, with commas between them. Needs `fault_injection`.",
    )

    workers: Annotated[int, Field(ge=1, le=256)] = Field(
        default_factory=_default_workers,
        description="Number of worker processes. Each classifies one recording at a time.",
    )
    threads_per_worker: Annotated[int, Field(ge=1, le=256)] = Field(
        1, description="Threads of the network in each worker."
    )
    worker_niceness: Annotated[int, Field(ge=0, le=19)] = Field(
        5, description="Niceness of the workers, so that probes are answered while every core is busy."
    )
    worker_descriptors: Annotated[int, Field(ge=64)] = Field(
        256, description="Most files and sockets that a worker, or a process of `batch`, may have open."
    )
    worker_file_bytes: Annotated[int, Field(ge=0)] = Field(
        16 * 2**20,
        description="Largest file that a worker, or a process of `batch`, may write. There is no such bound if the log "
        "is a file and not a pipe.",
    )
    worker_sandbox: bool = Field(
        True,
        description="Whether workers and processes of `batch` are kept from opening network connections and from "
        "starting programs, where the kernel can do that (Linux, x86-64 and ARM64).",
    )
    max_queue: Annotated[int, Field(ge=1, le=100_000)] = Field(
        64, description="Most recordings that wait or run. Beyond it a request is refused."
    )
    max_wait_seconds: Seconds = Field(
        30.0,
        description="Longest wait for a worker. A request that would wait longer is refused, one that does is dropped.",
    )
    job_timeout_seconds: Annotated[float, Field(ge=0.5, le=LONGEST)] = Field(
        120.0, description="A job that runs longer is stopped, and its worker is replaced."
    )
    request_timeout_seconds: Annotated[float, Field(ge=0.5, le=LONGEST)] = Field(
        150.0, description="Longest time from the start of a request to its answer, with retries."
    )
    upload_timeout_seconds: Seconds = Field(120.0, description="Longest time in which a request must arrive.")
    upload_idle_seconds: Seconds = Field(
        15.0, description="Longest pause of a client within a request, and before its first line."
    )
    keep_alive_seconds: Annotated[int, Field(ge=1, le=86_400)] = Field(
        75,
        description="Longest pause between two requests on one connection. It must be longer than the idle time of the "
        "load balancer in front, which else sends requests into connections that are being closed: 60 s at AWS and "
        "nginx; Google's needs 620.",
    )
    drain_seconds: Seconds = Field(30.0, description="After SIGTERM: longest time to answer the accepted requests.")
    drain_linger_seconds: Annotated[float, Field(ge=0, le=3600)] = Field(
        1.0, description="After SIGTERM: time in which requests are still accepted, while `/readyz` answers 503."
    )

    heartbeat_seconds: Annotated[float, Field(ge=0.5, le=LONGEST)] = Field(
        1.0, description="A worker that sends no heartbeat for this time is killed and replaced; its stacks are kept."
    )
    load_timeout_seconds: Annotated[float, Field(ge=5, le=LONGEST)] = Field(
        120.0,
        description="Longest time in which a worker must load its model. Waits for a processor or the disk do not "
        "count.",
    )
    self_test_seconds: Annotated[float, Field(ge=0.2, le=LONGEST)] = Field(
        10.0, description="Time between two self-tests of an idle worker, in which it classifies the golden clips."
    )
    quarantine_seconds: Seconds = Field(
        3600.0, description="Time for which a recording that ended two workers is refused."
    )
    suspect_recordings: Annotated[int, Field(ge=1)] = Field(
        2,
        description="After so many different recordings that ended a worker, those of the same client are tried one at "
        "a time, and only while another worker can answer.",
    )
    suspect_pause_seconds: Annotated[float, Field(ge=0, le=LONGEST)] = Field(
        5.0,
        description="A client that got fewer answers than its recordings ended workers must pause after each further "
        "one: so long at first, then twice as long, up to `quarantine_seconds`.",
    )
    recycle_growth_bytes: Annotated[int, Field(ge=64 * 2**20)] = Field(
        1024 * 2**20, description="A worker whose memory has grown by this much is replaced after its job."
    )
    max_loop_lag_seconds: Annotated[float, Field(ge=0.5, le=LONGEST)] = Field(
        2.0, description="`/livez` is false if the HTTP event loop has been blocked for this time."
    )
    max_error_share: Share = Field(
        0.5, description="`/readyz` is false if a larger share of the last answers were internal errors."
    )
    explain_windows: Annotated[int, Field(ge=0, le=100)] = Field(
        3,
        description="Most windows that one request may have explained; 0 turns explanations off. A window costs 70 "
        "runs of the network, or 21 if its input is a drawn picture.",
    )
    drift_recordings: Annotated[int, Field(ge=0)] = Field(
        10_000,
        description="Average number of recordings like those of the training until a false warning of drift. A lower "
        "number also detects true drift sooner; 0 never warns.",
    )
    last_replica: bool = Field(
        False,
        description="Whether this is the only replica. With many internal errors `/health` then fails, not `/readyz`.",
    )

    max_request_bytes: Annotated[int, Field(ge=1024)] = Field(
        2**20, description="Largest body of a request that sends no recording, in bytes."
    )
    max_json_values: Annotated[int, Field(ge=100)] = Field(
        10_000, description="Most values in the JSON of a request. Each comma counts as one."
    )
    max_json_depth: Annotated[int, Field(ge=8, le=500)] = Field(
        32, description="Most lists and objects within each other in the JSON of a request."
    )
    upload_memory_bytes: Annotated[int, Field(ge=0)] = Field(
        4 * 2**20, description="A recording up to this size is received in memory, a larger one in a temporary file."
    )
    max_bytes_in_memory: Annotated[int, Field(ge=2**20)] = Field(
        128 * 2**20,
        description="Most bytes of all request bodies in memory. Beyond it, recordings are received in temporary files "
        "and other requests are refused with 503.",
    )
    max_bytes_on_disk: Annotated[int, Field(ge=0)] = Field(
        2**30,
        description="Most bytes of all recordings in temporary files, and never more than half of the free space. "
        "Beyond it, they are refused with 503 before they are read.",
    )
    max_client_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="Largest share of these bytes that one client may hold."
    )
    max_page_bytes: Annotated[int, Field(ge=2**20)] = Field(
        2**30,
        description="Most bytes of the page's uploads, which are kept for an hour. Beyond it, the oldest upload of the "
        "client that has most is deleted.",
    )

    max_upload_bytes: Annotated[int, Field(ge=1)] = Field(
        _LIMITS.max_bytes,
        description="Largest recording that is sent to the service, or to the command line through a pipe, in bytes. "
        "Files that the command line or the Python package reads may be larger.",
    )
    max_seconds: Annotated[float, Field(gt=0)] = Field(
        _LIMITS.max_seconds, description="Longest recording, in seconds."
    )
    max_channels: Annotated[int, Field(ge=1)] = Field(_LIMITS.max_channels, description="Most channels of a recording.")
    min_sample_rate: Annotated[int, Field(ge=1)] = Field(
        _LIMITS.min_sample_rate, description="Lowest sample rate, in Hz."
    )
    max_sample_rate: Annotated[int, Field(ge=1)] = Field(
        _LIMITS.max_sample_rate, description="Highest sample rate, in Hz."
    )
    max_samples: Annotated[int, Field(ge=1)] = Field(
        _LIMITS.max_samples,
        description="Most samples of a recording in all channels together; the default is an hour of eight channels at "
        "48,000 Hz, or of two at 192,000 Hz.",
    )
    decode_seconds: Annotated[float, Field(ge=0.1, le=LONGEST)] = Field(
        _LIMITS.decode_seconds,
        description="Processor time that decoding a recording may take beside the share below. A file that takes more "
        "is refused. `classify`, `batch` and other commands allow five times as much.",
    )
    decode_share: Annotated[float, Field(ge=0.001, le=1000)] = Field(
        _LIMITS.decode_share,
        description="Processor time that decoding may take for each second of music, in seconds; more for more than "
        "384,000 samples in a second, in proportion. Usual files take 0.002, on a slow machine up to 0.05. `classify`, "
        "`batch` and other commands allow five times as much.",
    )
    decode_memory_bytes: Annotated[int, Field(ge=32 * 2**20)] = Field(
        _LIMITS.decode_memory_bytes,
        description="Memory that decoding may take in a worker or a process of `batch`, beside the file and the "
        "decoded waveform. A file that takes more is refused.",
    )
    max_windows: Annotated[int, Field(ge=1)] = Field(1000, description="Largest number of `windows` in a request.")

    @field_validator("trusted_proxies", mode="after")
    @classmethod
    def _has_networks(cls, value: str) -> str:
        for part in filter(None, map(str.strip, value.split(","))):
            ip_network(part, strict=False)
        return value

    @field_validator("frame_ancestors", mode="after")
    @classmethod
    def _has_no_other_rule(cls, value: str) -> str:
        if not re.fullmatch(r"[^;,\s]+( [^;,\s]+)*", value):
            raise ValueError("it must be sources with spaces between them")
        return value

    @field_validator("api_keys_required", mode="after")
    @classmethod
    def _has_keys(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("api_keys_file") is None:
            raise ValueError("it needs a file of keys: CCMUSIC_API_KEYS_FILE")
        return value

    @field_validator("model", "model_cache", mode="after")
    @classmethod
    def _has_a_home(cls, value: Any) -> Any:
        try:
            Path(value).expanduser()
        except RuntimeError:
            raise ValueError("~ has no meaning here, because this user has no home directory") from None
        return value

    @property
    def faults_at_start(self) -> tuple[str, ...]:
        """The names in `faults`; none unless `fault_injection` is on."""
        return tuple(filter(None, self.faults.split(","))) if self.fault_injection else ()

    @property
    def page_is_required(self) -> bool:
        """Whether someone has set `page` to true. By default the page is served if Gradio is installed."""
        return self.page and "page" in self.model_fields_set

    @property
    def admin_secret(self) -> str | None:
        """The admin token, from its setting or its file; None if there is none."""
        if self.admin_token is not None:
            return self.admin_token.get_secret_value()
        if self.admin_token_file is not None:
            return read_secret(self.admin_token_file)
        return None

    @property
    def decode_limits(self) -> DecodeLimits:
        """The limits under which every recording is decoded."""
        return DecodeLimits(
            max_bytes=self.max_upload_bytes,
            max_channels=self.max_channels,
            min_sample_rate=self.min_sample_rate,
            max_sample_rate=self.max_sample_rate,
            max_seconds=self.max_seconds,
            max_samples=self.max_samples,
            decode_seconds=self.decode_seconds,
            decode_share=self.decode_share,
            decode_memory_bytes=self.decode_memory_bytes,
        )

    @property
    def local_limits(self) -> DecodeLimits:
        """The limits of files on this machine: any number of bytes, and more processor time to decode.

        Nobody uploads them, and the machine may be a small one: there, sound of 192 kHz can take a tenth of its length.
        """
        limits = self.decode_limits
        return replace(
            limits,
            max_bytes=sys.maxsize,
            decode_seconds=LOCAL_FACTOR * limits.decode_seconds,
            decode_share=LOCAL_FACTOR * limits.decode_share,
        )

    @classmethod
    def file_values(cls) -> dict[str, Any]:
        """The values of the file that ``CCMUSIC_CONFIG`` names."""
        if not (path := os.environ.get("CCMUSIC_CONFIG")):
            return {}
        # not pydantic's source of TOML: it refuses a byte order mark, which editors of Windows write
        return tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))


def asked_precision(settings: Settings) -> Literal["float32", "bfloat16", "int8"] | None:
    """Return the configured precision; None if the model's card chooses."""
    return None if settings.precision == "auto" else settings.precision


def read_settings(**overrides: Any) -> Settings:
    """Read the configuration.

    Parameters
    ----------
    **overrides
        Values of the command line, which take precedence; None counts as not set.

    Raises
    ------
    InvalidSettings
        A value is not allowed, or a ``CCMUSIC_*`` variable or a key of the file is unknown. The text names it.
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
"""Variables of the bridge to WeCom, which checks them itself, and of the test suite."""


def _refuse_unknown_variables() -> None:
    """Refuse a misspelt variable, which would otherwise be ignored without a message."""
    known = {f"CCMUSIC_{name.upper()}" for name in Settings.model_fields} | {"CCMUSIC_CONFIG"}
    for name, value in os.environ.items():
        is_setting = name.startswith("CCMUSIC_") and not name.startswith(_OTHERS)
        if is_setting and name not in known and not is_service_link(name, value):
            raise InvalidSettings(f"{name}: there is no such setting; `ccmusic settings` lists them")
