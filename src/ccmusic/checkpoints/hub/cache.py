"""Where downloaded checkpoints are kept, and which file a name stood for when a hub last answered.

::

    <cache>/ccmusic-database--music_genre/
    ├── 3f2a90c1d4b7e865/               start of the SHA-256: another file is in another directory
    │   └── vgg19_bn_cqt/save.pt
    └── refs/huggingface/HEAD/vgg19_bn_cqt.json      the file that this name stood for last
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from ccmusic.checkpoints.file_lock import file_lock
from ccmusic.checkpoints.hub.listing import ExpectedFile, expected_file
from ccmusic.checkpoints.hub.transfer import cache_errors
from ccmusic.errors import ModelRefused
from ccmusic.models.hub_reference import HubReference
from ccmusic.models.store import CHECKPOINT_NAME, file_sha256

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HubCache:
    """The part of the cache that belongs to one reference.

    Attributes
    ----------
    root : Path
        The whole cache, absolute.
    reference : HubReference
    """

    root: Path
    reference: HubReference

    def path(self, expected: ExpectedFile) -> Path:
        """Where the file is, or will be; its directory has the checkpoint's name."""
        return self._repository / expected.sha256[:16] / expected.folder / CHECKPOINT_NAME

    def has(self, expected: ExpectedFile) -> bool:
        """Whether the file is there with the expected size and hash; a file that differs is removed."""
        path = self.path(expected)
        with cache_errors(path):
            if not path.is_file():
                return False
            if path.stat().st_size == expected.size and file_sha256(path) == expected.sha256:
                return True
            path.unlink()
        _log.warning("%s was damaged since it was pulled: removed", path)
        return False

    def remember(self, hub: str, expected: ExpectedFile) -> None:
        """Note which file the reference stands for at this hub. Log, and continue, if the cache is not writable."""
        record = self._record(hub)
        content = json.dumps(asdict(expected), indent=2) + "\n"
        new = record.with_name(f"{record.name}.{os.getpid()}-{threading.get_ident()}")
        try:
            if record.is_file() and record.read_text(encoding="utf-8") == content:
                return
            record.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(content, encoding="utf-8")
            new.replace(record)
        except OSError as error:
            _log.warning("%s cannot be written (%s): this will not be found offline", record, error.strerror)

    def recall(self, hub: str) -> Path | None:
        """The file that the reference stood for at this hub; None if it is not in the cache, complete."""
        try:
            fields = json.loads(self._record(hub).read_text(encoding="utf-8"))
            expected = expected_file(fields["path"], fields["size"], fields["sha256"])
        except (OSError, ValueError, KeyError, TypeError, ModelRefused):
            return None
        return self.path(expected) if self.has(expected) else None

    @contextmanager
    def lock(self, expected: ExpectedFile) -> Iterator[None]:
        """Make the file's directory and lock it against other processes, which wait."""
        directory = self.path(expected).parent
        with ExitStack() as stack:
            with cache_errors(directory):
                directory.mkdir(parents=True, exist_ok=True)
                stack.enter_context(
                    file_lock(
                        directory / ".lock",
                        lambda: _log.warning("waiting for another process that pulls %s", expected.folder),
                    )
                )
            yield

    @property
    def _repository(self) -> Path:
        return self.root / self.reference.repository.replace("/", "--")

    def _record(self, hub: str) -> Path:
        revision = quote(self.reference.revision or "HEAD", safe="")
        return self._repository / "refs" / hub / revision / f"{self.reference.checkpoint}.json"
