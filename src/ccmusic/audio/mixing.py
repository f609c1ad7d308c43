"""Mixes the channels of a recording to mono so that the music stays.

The mix is the mean of the channels, as in librosa, with these differences:

* The low-frequency channel (LFE) of a surround recording is no part of it.
* Where channels cancel each other, because one has the wrong polarity, channels are inverted before the mean. This is
  decided for each band of half an octave, over the last seconds, so it also holds for one band or one part.
* Channels without sound do not lower the level.

A recording without these is mixed to exactly the mean. The memory is that of one block.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

FRAME_SECONDS = 0.08
"""Least length of a spectrum, and of the filter that inverts a band."""
FRAMES_PER_BLOCK = 4
"""Of each block that is measured, one frame is."""
CALM_BLOCKS = 3
"""While nothing can be lost in the mix, one of so many blocks is measured, about every second."""
MOST_CHANNELS = 8
"""More are tracks of a studio, which are only averaged: their correlations cost too much."""
LOWEST_EDGE_HZ = 90.0
HIGHEST_EDGE_HZ = 8000.0
MEMORY_SECONDS = 4.0
"""Older blocks count 1/e in the measured correlation."""
BEGINS_AT = 6.0
"""A band is inverted where the mix gets this much more power by it. For two equally loud channels: a correlation below
-0.71."""
ENDS_AT = 2.0
FEW_BINS = 12
"""With so many bins measured, which may correlate by chance, a band is inverted at twice `BEGINS_AT`."""
FAINT = 1e-6
"""A band with a smaller share of the power, 60 dB below the whole, is left as it is."""
DEAD = 1e-5
"""A channel with this share of the loudest channel's power, 50 dB below it, has no sound."""
NOTED_SHARE = 0.05
"""Share of all bands and blocks from which on the answer says that channels cancelled."""


class ChannelMix:
    """The mono mix of one stream of blocks.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    channels : int
    low_frequency : collection of int
        Positions of low-frequency channels; if no others are left, they are mixed.

    References
    ----------
    Faller, Baumgarte: "Binaural cue coding - part II: schemes and applications" (IEEE, 2003), where the sum of the
    channels is corrected in each band because they may cancel.
    """

    def __init__(self, sample_rate: int, channels: int, low_frequency: Collection[int] = ()) -> None:
        mixed = [index for index in range(channels) if index not in low_frequency] or list(range(channels))
        self._mixed = mixed
        self._mean = np.zeros(channels, dtype=np.float32)
        self._mean[mixed] = 1.0 / len(mixed)
        self._frame = 2 ** int(np.ceil(np.log2(FRAME_SECONDS * sample_rate)))
        self._block = FRAMES_PER_BLOCK * self._frame
        # A frame of the block before is kept in front: the filter needs half of it on both sides of each sample.
        # Memory is taken with the first block, since the recording may be refused before.
        self._samples = np.zeros((0, channels), dtype=np.float32)
        self._hann = np.hanning(self._frame + 1)[:-1].astype(np.float32)
        self._filled = 0
        self._to_skip = self._frame // 2
        self._n_bands = 1 + int(2 * np.log2(min(HIGHEST_EDGE_HZ, sample_rate / 2) / LOWEST_EDGE_HZ))
        edges_hz = LOWEST_EDGE_HZ * 2.0 ** (0.5 * np.arange(self._n_bands - 1))
        self._edges = np.concatenate([[0], np.ceil(edges_hz / sample_rate * self._frame)]).astype(int)
        self._n_bins = np.diff([*self._edges, self._frame // 2 + 1])
        self._n_blocks = 0.0  # older ones count less
        self._fading = np.exp(-self._block / (MEMORY_SECONDS * sample_rate))
        self._n_blocks_since = 0
        self._is_calm = False
        self._covariance = np.zeros((self._n_bands, len(mixed), len(mixed)))
        self._power = np.zeros(len(mixed))
        self._inverted = np.zeros((self._n_bands, len(mixed)), dtype=bool)
        self._n_left = 0
        self._n_inverted = 0
        self._n_measured = 0

    @property
    def gain(self) -> float:
        """Factor for the finished mix: the number of channels by that of channels with sound."""
        with_sound = np.count_nonzero(self._power > DEAD * self._power.max())
        return len(self._power) / with_sound if with_sound else 1.0

    @property
    def cancelled(self) -> bool:
        """Whether channels cancelled each other in a noticeable part of the recording."""
        return bool(self._n_inverted > NOTED_SHARE * self._n_measured)

    def add(self, block: np.ndarray) -> np.ndarray:
        """Mix one block.

        Parameters
        ----------
        block : np.ndarray [shape=(n, channels), dtype=float32]

        Returns
        -------
        np.ndarray [shape=(m,), dtype=float32]
            The mix as far as it is known; the rest comes later.
        """
        if len(self._mean) == 1:
            return block[:, 0]
        if not 1 < len(self._mixed) <= MOST_CHANNELS:
            self._power += np.einsum("ij,ij->j", block, block)[self._mixed]
            return np.asarray(block @ self._mean)
        if not len(self._samples):
            self._samples = np.zeros((self._frame + self._block, len(self._mean)), dtype=np.float32)
        self._n_left += len(block)
        return self._mix_full_blocks(block)

    def finish(self) -> np.ndarray:
        """The rest of the mix [shape=(m,), dtype=float32]."""
        if not self._n_left:
            return np.empty(0, dtype=np.float32)
        n_left = self._n_left
        self._samples[self._frame + self._filled :] = 0.0  # what is left of the block before
        silence = np.zeros((self._frame // 2, len(self._mean)), dtype=np.float32)
        return np.concatenate([self._mix_full_blocks(silence), self._mix_block()])[:n_left]

    def _mix_full_blocks(self, block: np.ndarray) -> np.ndarray:
        mixes = []
        while len(block):
            place = self._frame + self._filled
            part = block[: len(self._samples) - place]
            self._samples[place : place + len(part)] = part
            self._filled += len(part)
            block = block[len(part) :]
            if self._filled == self._block:
                mixes.append(self._mix_block())
        return np.concatenate(mixes) if mixes else np.empty(0, dtype=np.float32)

    def _mix_block(self) -> np.ndarray:
        is_first_sound = not self._power.any()
        before = self._inverted
        self._n_blocks_since += 1
        if self._n_blocks_since >= (CALM_BLOCKS if self._is_calm else 1):
            self._measure()
            self._n_blocks_since = 0
        self._n_inverted += int(np.count_nonzero(self._inverted.any(axis=1)))
        self._n_measured += self._n_bands
        if is_first_sound:  # nothing to move away from
            before = self._inverted
        half = self._frame // 2
        mix = np.asarray(self._samples[half : half + self._block] @ self._mean)
        if before.any() or self._inverted.any():
            mix -= self._twice_inverted(before, self._inverted)
        self._samples[: self._frame] = self._samples[self._block :]
        self._filled = 0
        mix = mix[self._to_skip :]
        self._to_skip = 0
        self._n_left -= len(mix)
        return mix

    def _measure(self) -> None:
        """Find out which channels to invert in which bands."""
        frame = np.ascontiguousarray(self._samples[2 * self._frame : 3 * self._frame].T)
        frame *= self._hann
        spectra = np.fft.rfft(frame)
        bands = _covariance(spectra[self._mixed], self._edges)
        self._power += np.einsum("bii->i", bands)
        fading = self._fading**self._n_blocks_since
        self._covariance = fading * self._covariance + bands
        self._n_blocks = fading * self._n_blocks + 1.0
        begins_at = BEGINS_AT * (1.0 + FEW_BINS / (self._n_blocks * self._n_bins))
        limit = np.where(self._inverted.any(axis=1), ENDS_AT, begins_at)
        is_mean_right = not (self._inverted.any() or _can_be_lost(self._covariance, limit).any())
        self._is_calm = is_mean_right and bool(self._power.all())  # the first sound of each channel is measured
        if not is_mean_right:
            self._inverted = _inverted_channels(self._covariance, self._inverted, limit)

    def _twice_inverted(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Twice the parts that are to be inverted, with a linear transition over the block [shape=(block,)]."""
        rise = np.linspace(0.0, 1.0, self._block, dtype=np.float32)
        parts = np.zeros(self._block, dtype=np.float32)
        for number, channel in enumerate(self._mixed):
            old, new = before[:, number], after[:, number]
            of_old = self._part_in_bands(channel, old)
            of_new = of_old if np.array_equal(old, new) else self._part_in_bands(channel, new)
            parts += of_old if of_new is of_old else of_old + rise * (of_new - of_old)
        return parts * np.float32(2.0 / len(self._mixed))

    def _part_in_bands(self, channel: int, bands: np.ndarray) -> np.ndarray:
        """What one channel holds in some bands, in phase with the mix [shape=(block,)]."""
        half = self._frame // 2
        samples = self._samples[:, channel]
        if bands.all() or not bands.any():
            return samples[half : half + self._block] * np.float32(bands.any())
        n_bins = half + 1
        response = np.repeat(bands, np.diff([*self._edges, n_bins])).astype(np.float32)
        filter_ = np.roll(np.fft.irfft(response), half) * self._hann
        size = 2 * self._block
        filtered = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(filter_, size), size)
        return np.asarray(filtered[self._frame : self._frame + self._block], dtype=np.float32)


def _covariance(spectra: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Power of the channels and of their products [bands, channels, channels] in spectra [channels, bins]."""
    real, imaginary = np.ascontiguousarray(spectra.real), np.ascontiguousarray(spectra.imag)
    n_channels = len(spectra)
    covariance = np.empty((len(edges), n_channels, n_channels))
    for first in range(n_channels):
        for second in range(first, n_channels):
            products = real[first] * real[second] + imaginary[first] * imaginary[second]
            covariance[:, first, second] = np.add.reduceat(products, edges, dtype=np.float64)
            covariance[:, second, first] = covariance[:, first, second]
    return covariance


def _is_heard(covariance: np.ndarray) -> np.ndarray:
    """Which bands have a share of the power from which on they are not left as they are [shape=(bands,)]."""
    power = np.einsum("bii->b", covariance)
    return np.asarray(power > FAINT * power.sum())


def _can_be_lost(covariance: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """In which bands some signs of the channels may give `limit` times as much power as the mean [shape=(bands,)]."""
    most = covariance.shape[1] * np.einsum("bii->b", covariance)  # no signs give more
    return np.asarray(_is_heard(covariance) & (limit * covariance.sum(axis=(1, 2)) < most))


def _inverted_channels(covariance: np.ndarray, before: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Which channels to invert so that no band is lost in the mix.

    The signs are those of the first principal component, in which all channels add up.

    Parameters
    ----------
    covariance : np.ndarray [shape=(bands, channels, channels)]
    before : np.ndarray [shape=(bands, channels), dtype=bool]
        Which are inverted so far.
    limit : np.ndarray [shape=(bands,)]
        A band is inverted where it gets this much more power by it: from `BEGINS_AT` on, and as long as `ENDS_AT`.

    Returns
    -------
    np.ndarray [shape=(bands, channels), dtype=bool]
        The first channel is never inverted.
    """
    _, vectors = np.linalg.eigh(covariance)
    component = vectors[:, :, -1]
    signs = np.where(component * component[:, :1] < 0, -1.0, 1.0)
    with_signs = np.einsum("bi,bij,bj->b", signs, covariance, signs)
    is_lost = with_signs > limit * covariance.sum(axis=(1, 2))
    return np.where(_is_heard(covariance)[:, np.newaxis], is_lost[:, np.newaxis] & (signs < 0), before)
