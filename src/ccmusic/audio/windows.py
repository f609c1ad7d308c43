"""Positions of the windows into which a recording is cut for the network."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ccmusic.errors import InvalidParameter

FIRST_SECONDS = 30.0
"""Length of the part that ``windows=first30`` analyses."""

UPSTREAM_WINDOW_SECONDS = 11.4
"""Window length of the networks of ccMusic's own app."""


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """Which part of a recording to analyse, and in how many windows.

    Attributes
    ----------
    first_seconds : float or None
        Analyse only this much from the beginning; None is the whole recording.
    count : int or None
        Number of windows, evenly spaced; None is as many as cover the part without gaps.
    """

    first_seconds: float | None = None
    count: int | None = None


def parse_windows(value: str | int, max_windows: int = 1000) -> WindowPlan:
    """Parse the parameter ``windows`` of a request.

    Parameters
    ----------
    value : str or int
        ``whole``, ``first30``, or a number of windows.
    max_windows : int
        Largest allowed number.

    Returns
    -------
    WindowPlan

    Raises
    ------
    InvalidParameter
        Another value.
    """
    if value == "whole":
        return WindowPlan()
    if value == "first30":
        return WindowPlan(first_seconds=FIRST_SECONDS)
    text = str(value)
    if text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= max_windows:
        return WindowPlan(count=int(text))
    raise InvalidParameter(
        "windows",
        f"must be `whole`, `first30` or an integer from 1 to {max_windows} (CCMUSIC_MAX_WINDOWS), not {text!r}",
    )


def cut(n_frames: int, frames_per_window: int, count: int | None = None) -> list[tuple[int, int]]:
    """Positions of windows of one length in a recording.

    The first window begins at the first frame, the last window ends at the last frame, and the others are evenly spaced
    between them, with overlap if needed. A recording that is not longer than a window is one window.

    Parameters
    ----------
    n_frames : int
        Frames of the recording.
    frames_per_window : int
        Frames of one window.
    count : int, optional
        Number of windows; by default the smallest number that leaves no gap. A single window of a longer recording is
        in its middle. There are never more windows than positions.

    Returns
    -------
    list of (int, int)
        First frame and the frame after the last, in ascending order.
    """
    last_start = n_frames - frames_per_window
    if last_start <= 0:
        return [(0, n_frames)]
    if count is None:
        count = math.ceil(n_frames / frames_per_window)
    if count == 1:
        starts = [last_start // 2]
    else:
        starts = np.unique(np.linspace(0, last_start, count).round().astype(int)).tolist()
    return [(start, start + frames_per_window) for start in starts]


def upstream_windows(
    n_frames: int, duration_seconds: float, window_seconds: float = UPSTREAM_WINDOW_SECONDS
) -> list[tuple[int, int]]:
    """Positions of windows as in ccMusic's own app: side by side, in the middle of the recording.

    The rest, less than a window, is omitted in equal parts at both ends. A recording shorter than a window is one
    window; that app fails on it.

    Parameters
    ----------
    n_frames : int
        Frames of the recording's spectrogram, >= 1.
    duration_seconds : float
        Length of its waveform in seconds, > 0.
    window_seconds : float
        Length of a window in seconds, at least one frame.

    Returns
    -------
    list of (int, int)
        First frame and the frame after the last, in ascending order.

    Raises
    ------
    InvalidParameter
        The duration is not positive, or a window is shorter than a frame.
    """
    if not duration_seconds > 0:
        raise InvalidParameter("duration_seconds", f"must be positive, and is {duration_seconds:g}")
    frames_per_window = int(window_seconds * n_frames / duration_seconds)
    if frames_per_window < 1:
        raise InvalidParameter("window_seconds", f"must be long enough for a frame, and is {window_seconds:g}")
    count = n_frames // frames_per_window
    if not count:
        return [(0, n_frames)]
    begin = int(0.5 * (n_frames - count * frames_per_window))
    end = begin + count * frames_per_window
    return [(start, start + frames_per_window) for start in range(begin, end, frames_per_window)]
