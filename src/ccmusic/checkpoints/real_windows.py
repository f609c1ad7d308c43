"""Network inputs made of real recordings, on which precisions are calibrated and compared."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ccmusic.audio.decode import decode
from ccmusic.audio.examples import EXAMPLE_DIRECTORIES
from ccmusic.audio.folder import recordings_in
from ccmusic.audio.windows import cut
from ccmusic.errors import AudioError, InvalidParameter
from ccmusic.features.cqt import FRAMES_PER_SECOND
from ccmusic.inference.front_end import FrontEnd
from ccmusic.models.card import Card

logger = logging.getLogger(__name__)


def recordings(directory: Path | None) -> list[Path]:
    """All recordings below a directory that are not hidden; without one, the examples of this package.

    Raises
    ------
    InvalidParameter
        There are none.
    """
    directories = EXAMPLE_DIRECTORIES if directory is None else (directory,)
    for place in directories:
        below = recordings_in(os.fsencode(place))
        found = sorted(Path(os.fsdecode(path)) for path in below if not isinstance(path, OSError))
        if found:
            return found
    raise InvalidParameter("import_audio", f"has no recording: {', '.join(map(str, directories))}")


def real_windows(
    card: Card, files: Sequence[Path], count: int, on_file: Callable[[], object] = lambda: None
) -> np.ndarray:
    """Up to `count` network inputs, the same number from each recording, spread evenly over it.

    Parameters
    ----------
    card : Card
        Its features, drawing and window length are used.
    files : sequence of Path
        A file that cannot be decoded is logged and skipped.
    count : int
        Number of windows in all; fewer where recordings are short.
    on_file : callable
        Called after each recording.

    Returns
    -------
    np.ndarray [shape=(n_windows, ...), dtype=float32]
        One window of each recording, then the next of each, so that any slice has windows of all recordings.

    Raises
    ------
    InvalidParameter
        None of the recordings is as long as a window.
    """
    front_end = FrontEnd(card)
    frames_per_window = 1 + int(card.window_seconds * FRAMES_PER_SECOND)
    per_file = -(-count // len(files))
    by_file: list[list[np.ndarray]] = []
    for file in files:
        try:
            spectrogram_db = front_end.spectrogram_db(decode(file).waveform)
        except AudioError as error:
            logger.warning("%s is skipped: %s", file.name, error)
            continue
        finally:
            on_file()
        if spectrogram_db.shape[1] < frames_per_window:
            continue
        places = cut(spectrogram_db.shape[1], frames_per_window, per_file)
        by_file.append([front_end.network_input([spectrogram_db[:, start:end]])[0] for start, end in places])
    interleaved = [windows[i] for i in range(per_file) for windows in by_file if i < len(windows)][:count]
    if not interleaved:
        raise InvalidParameter("import_audio", f"has no recording of at least {card.window_seconds:g} s")
    return np.stack(interleaved)
