"""Where pulled checkpoints lie, and what is remembered of them for a time without a network.

::

    <cache>/ccmusic-database--music_genre/
    ├── 3f2a90c1d4b7e865/               begins the SHA-256: another file, another directory
    │   └── vgg19_bn_cqt/save.pt
    └── refs/huggingface/HEAD/vgg19_bn_cqt.json      what that name stood for when it was last asked for
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from ccmusic.checkpoints.hub.listing import CHECKPOINT_FILE, Promise, promise
from ccmusic.checkpoints.hub.transfer import keeping
from ccmusic.errors import ModelRefused
from ccmusic.models.hub_reference import HubReference
from ccmusic.models.store import file_sha256

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shelf:
    """One repository's part of the cache.

    Attributes
    ----------
    cache : Path
        Absolute.
    reference : HubReference
    """

    cache: Path
    reference: HubReference

    def place(self, promised: Promise) -> Path:
        """Where these bytes lie, or are to lie; its directory bears the checkpoint's name."""
        return self._repository / promised.sha256[:16] / promised.folder / CHECKPOINT_FILE

    def has(self, promised: Promise) -> bool:
        """Whether they are there, every one of them; what is there and is not the promised file is removed."""
        place = self.place(promised)
        with keeping(place):
            if not place.is_file():
                return False
            if place.stat().st_size == promised.size and file_sha256(place) == promised.sha256:
                return True
            place.unlink()
        _log.warning("%s was damaged since it was pulled: removed", place)
        return False

    def remember(self, hub: str, promised: Promise) -> None:
        """Note what the reference stands for at this hub; a cache that may only be read is no hindrance."""
        record = self._record(hub)
        content = json.dumps(asdict(promised), indent=2) + "\n"
        new = record.with_name(f"{record.name}.{os.getpid()}-{threading.get_ident()}")
        try:
            if record.is_file() and record.read_text(encoding="utf-8") == content:
                return
            record.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(content, encoding="utf-8")
            new.replace(record)
        except OSError as error:
            _log.warning("%s cannot be written (%s): offline, this will not be found", record, error.strerror)

    def recall(self, hub: str) -> Path | None:
        """The file that the reference stood for at this hub, whole; None if it is not here."""
        try:
            fields = json.loads(self._record(hub).read_text(encoding="utf-8"))
            promised = promise(fields["path"], fields["size"], fields["sha256"])
        except (OSError, ValueError, KeyError, TypeError, ModelRefused):
            return None
        return self.place(promised) if self.has(promised) else None

    @contextmanager
    def alone(self, promised: Promise) -> Iterator[None]:
        """Make the place, and keep it from other processes of this machine, which wait."""
        directory = self.place(promised).parent
        with ExitStack() as stack:
            with keeping(directory):
                directory.mkdir(parents=True, exist_ok=True)
                lock = stack.enter_context((directory / ".lock").open("w"))
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    _log.warning("another process pulls %s: waiting for it", promised.folder)
                    fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @property
    def _repository(self) -> Path:
        return self.cache / self.reference.repository.replace("/", "--")

    def _record(self, hub: str) -> Path:
        revision = quote(self.reference.revision or "HEAD", safe="")
        return self._repository / "refs" / hub / revision / f"{self.reference.checkpoint}.json"
