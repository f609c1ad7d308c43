"""A network in memory with its card: windows to logits, and the two checks that the network still answers right."""

from __future__ import annotations

import hashlib
from itertools import groupby

import numpy as np

from ccmusic.audio.decode import DecodeLimits, decode
from ccmusic.errors import ModelRefused
from ccmusic.inference.backend import OUTPUT_NAME, Backend
from ccmusic.inference.front_end import FrontEnd
from ccmusic.inference.stages import StageTimer
from ccmusic.models.card import Card
from ccmusic.models.golden import SIGNALS, recording

WINDOWS_PER_BATCH = 8
"""Limits the network's memory for long recordings; larger batches are not faster on a CPU."""
DRAWN_PER_BATCH = 4
"""For networks that take drawings: they need about 40 MB per window, and 8 are not faster (docs/precisions.md)."""

GOLDEN_TOLERANCE = 0.02
"""Largest allowed difference of a logit from the card's: machines round differently."""

CANARY_SECONDS = (1.0, 2.0)
"""Lengths of the canary clips."""

GOLDEN_LIMITS = DecodeLimits()
"""Golden clips are decoded under the defaults, whatever limits the operator sets for clients."""


class LoadedNetwork:
    """A card, its front end, and the backend that runs its network.

    Parameters
    ----------
    card : Card
    backend : Backend

    Raises
    ------
    ModelRefused
        The card requires a spectrogram that is not available.
    """

    def __init__(self, card: Card, backend: Backend) -> None:
        self.card = card
        self.backend = backend
        self.front_end = FrontEnd(card)
        self._canary_inputs: list[np.ndarray] | None = None

    def logits(self, windows_db: list[np.ndarray], timer: StageTimer | None = None) -> list[np.ndarray]:
        """Run the network on windows, in batches of one length.

        Parameters
        ----------
        windows_db : list of np.ndarray [shape=(bins, frames), dtype=float32]
        timer : StageTimer, optional

        Returns
        -------
        list of np.ndarray [shape=(n_windows, n_labels), dtype=float32]
            The card's own output, then each head's.

        Raises
        ------
        NonFiniteOutput
            The network returned NaN or infinity.
        """
        timer = timer or StageTimer()
        is_drawn = self.card.drawing is not None
        batch_size = DRAWN_PER_BATCH if is_drawn else WINDOWS_PER_BATCH
        preparation = "features" if is_drawn else "inference"  # stacking windows alone takes no noticeable time
        batches = []
        for _, same in groupby(windows_db, np.shape):  # short parts between silences have short windows
            of_one_length = list(same)
            for first in range(0, len(of_one_length), batch_size):
                with timer(preparation):
                    batch = self.front_end.network_input(of_one_length[first : first + batch_size])
                with timer("inference"):
                    batches.append(self.backend.all_logits(batch))
        return [np.concatenate(outputs) for outputs in zip(*batches, strict=True)]

    def verify(self) -> str:
        """Run the golden clips through the whole pipeline, decoding included, and compare with the card.

        Returns
        -------
        str
            SHA-256 of the logits' bits. In one process the same clip gives the same bits, and a flipped bit anywhere in
            the pipeline changes them. Other machines may give other bits.

        Raises
        ------
        ModelRefused
            An answer is not the card's.
        NonFiniteOutput
        """
        outputs = (OUTPUT_NAME, *(head.output for head in self.card.heads))
        bits = hashlib.sha256()
        for clip in self.card.golden:
            if clip.signal not in SIGNALS:
                raise ModelRefused(f"the card names an unknown golden signal {clip.signal!r}")
            waveform = decode(recording(clip.signal, clip.seconds), GOLDEN_LIMITS).waveform
            computed = self.backend.all_logits(self._one_window(waveform))
            expected = (clip.logits, *(clip.heads[head.taxonomy] for head in self.card.heads))
            for name, logits, card_logits in zip(outputs, computed, expected, strict=True):
                error = float(np.abs(logits[0] - card_logits).max())
                if error > GOLDEN_TOLERANCE:
                    raise ModelRefused(
                        f"golden clip {clip.signal!r} of {clip.seconds:g} s: {name} off by {error:.3g}, "
                        f"at most {GOLDEN_TOLERANCE} is allowed"
                    )
                bits.update(logits.tobytes())
        return bits.hexdigest()

    def canary(self) -> bytes:
        """Run the network on short known clips; the worker compares the bits with those of its start.

        This is cheap enough to follow every answer. A worker returns an answer only if the canary check after it gives
        the same bits as at the start.

        Returns
        -------
        bytes
            The logits of every output.
        """
        if self._canary_inputs is None:
            # A network may have separate weights for short and long clips; drawings are all of one size.
            lengths = CANARY_SECONDS if self.card.drawing is None else CANARY_SECONDS[:1]
            shortest, longest = self.card.min_seconds, self.card.window_seconds
            signal = SIGNALS[self.card.golden[0].signal]
            clips = [signal(min(max(seconds, shortest), longest)) for seconds in lengths]
            self._canary_inputs = [self._one_window(clip) for clip in clips]
        outputs = [logits for batch in self._canary_inputs for logits in self.backend.all_logits(batch)]
        return b"".join(logits.tobytes() for logits in outputs)

    def _one_window(self, waveform: np.ndarray) -> np.ndarray:
        return self.front_end.network_input([self.front_end.spectrogram_db(waveform)])
