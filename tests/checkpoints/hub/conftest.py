"""A fake hub with three checkpoints, and an environment without tokens, mirrors or proxies."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from ccmusic.checkpoints.hub import RetryPolicy
from support.fake_hub import FakeHub

CHECKPOINT = random.Random(1).randbytes(3_000_000)
FILES = {
    ".gitattributes": b"*.pt filter=lfs\n",
    "README.md": b"# Music genre\n" * 200,
    "vgg19_bn_cqt/save.pt": CHECKPOINT,
    "vit_b_16_mel_16cls_2023-05-01/save.pt": CHECKPOINT[:2000],
    "vit_b_16_mel_16cls_2024-11-30/save.pt": CHECKPOINT[:4000],
}
FAST_RETRY = RetryPolicy(timeout_seconds=60.0, attempts=3, pause_seconds=0.0)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.upper().startswith(("HF_", "MODELSCOPE_")) or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub(FILES) as hub:
        yield hub


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"
