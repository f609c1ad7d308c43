"""Windows of real recordings, as the network will see them: what precisions are calibrated and compared on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ccmusic.audio.containers import AUDIO_SUFFIXES
from ccmusic.audio.decode import decode
from ccmusic.audio.examples import EXAMPLE_DIRECTORIES
from ccmusic.audio.windows import cut
from ccmusic.errors import AudioError, InvalidParameter
from ccmusic.features.cqt import FRAMES_PER_SECOND
from ccmusic.inference.front_end import FrontEnd
from ccmusic.models.card import Card

logger = logging.getLogger(__name__)


def recordings(directory: Path | None) -> list[Path]:
    """The recordings in a directory and below it, or our own examples.

    Raises
    ------
    InvalidParameter
        There is none.
    """
    places = EXAMPLE_DIRECTORIES if directory is None else (directory,)
    for place in places:
        found = sorted(path for path in place.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
        if found:
            return found
    raise InvalidParameter("import_audio", f"has no recording: {', '.join(map(str, places))}")


def real_windows(
    card: Card, files: Sequence[Path], count: int, on_file: Callable[[], object] = lambda: None
) -> np.ndarray:
    """About so many windows, the same number of each recording, evenly spread over it.

    Parameters
    ----------
    card : Card
        Says what a window is.
    files : sequence of Path
    count : int
        How many in all; short recordings have fewer.
    on_file : callable
        Told after each recording.

    Returns
    -------
    np.ndarray [shape=(n_windows, ...), dtype=float32]
        The recordings take turns, so that every slice has something of each.

    Raises
    ------
    InvalidParameter
        None of the recordings is as long as a window.
    """
    front_end = FrontEnd(card)
    frames_per_window = 1 + int(card.window_seconds * FRAMES_PER_SECOND)
    each = -(-count // len(files))
    taken: list[list[np.ndarray]] = []
    for file in files:
        try:
            spectrogram_db = front_end.spectrogram_db(decode(file).waveform)
        except AudioError as error:
            logger.warning("%s is left out: %s", file.name, error)
            continue
        finally:
            on_file()
        if spectrogram_db.shape[1] < frames_per_window:
            continue
        places = cut(spectrogram_db.shape[1], frames_per_window, each)
        taken.append([front_end.network_input([spectrogram_db[:, start:end]])[0] for start, end in places])
    in_turns = [track[i] for i in range(each) for track in taken if i < len(track)][:count]
    if not in_turns:
        raise InvalidParameter("import_audio", f"has no recording of at least {card.window_seconds:g} s")
    return np.stack(in_turns)
