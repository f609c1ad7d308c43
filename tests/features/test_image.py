"""The drawn picture against matplotlib's: golden rasters everywhere, matplotlib itself where it is installed."""

from __future__ import annotations

import runpy
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ccmusic.errors import InvalidParameter
from ccmusic.features import image
from ccmusic.features.magma import MAGMA

DATA = Path(__file__).parent.parent / "data"
WINDOWS: dict[str, np.ndarray] = runpy.run_path(str(DATA / "windows_db.py"))["computed_windows"]()

# At 96, 448 and 672 frames edges fall midway between two pixels and matplotlib's rounding decides; from 497 frames on
# some have no pixel.
FRAMES = [2, 3, 7, 31, 96, 245, 448, 490, 491, 495, 496, 497, 672, 992, 1300, 4096]


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(DATA / "drawing_golden.npz") as arrays:
        return dict(arrays)


def noise(n_bins: int, n_frames: int) -> np.ndarray:
    raw = np.random.PCG64(n_bins + n_frames).random_raw(n_bins * n_frames)
    return (-80.0 * (raw / 2.0**64)).astype(np.float32).reshape(n_bins, n_frames)


def darkest_to_lightest(window: np.ndarray) -> np.ndarray:
    """The picture's colours as places in the colour map [369, 496]."""
    place = {tuple(colour): i for i, colour in enumerate(MAGMA.tolist())}
    return np.array([[place[tuple(colour)] for colour in row] for row in image.draw(window).tolist()])


@pytest.mark.parametrize("name", WINDOWS)
def test_picture_equals_golden(golden, name):
    np.testing.assert_array_equal(image.draw(WINDOWS[name]), golden[f"raster/{name}"])


@pytest.mark.parametrize("name", WINDOWS)
def test_picture_equals_matplotlib(matplotlib_drawing, name):
    np.testing.assert_array_equal(image.draw(WINDOWS[name]), matplotlib_drawing.raster(WINDOWS[name]))


@pytest.mark.parametrize("n_bins", [84, 128])
@pytest.mark.parametrize("n_frames", FRAMES)
def test_every_geometry_equals_matplotlib(matplotlib_drawing, n_bins, n_frames):
    window = noise(n_bins, n_frames)
    np.testing.assert_array_equal(image.draw(window), matplotlib_drawing.raster(window))


@pytest.mark.parametrize("n_bins", [2, 3, 96, 400, 528])
def test_every_number_of_bins_equals_matplotlib(matplotlib_drawing, n_bins):
    window = noise(n_bins, 20)
    np.testing.assert_array_equal(image.draw(window), matplotlib_drawing.raster(window))


def test_colours_are_matplotlib_s(matplotlib_drawing):
    from matplotlib import colormaps

    colours = colormaps["magma"](np.arange(256))[:, :3]
    np.testing.assert_array_equal(np.floor(colours * 255 + 0.5), MAGMA)


def test_network_picture_equals_torchvision_on_the_file_of_matplotlib(matplotlib_drawing):
    for name in ("cqt", "half_a_second", "constant"):
        for size in ((224, 224), (299, 299), (96, 400)):
            estimated = image.network_picture(WINDOWS[name], size)
            np.testing.assert_array_equal(estimated, matplotlib_drawing.network_picture(WINDOWS[name], size))


def test_network_picture_equals_golden(golden):
    reference = golden["resized/cqt"]
    picture = image.network_picture(WINDOWS["cqt"], reference.shape[:2])
    assert picture.shape == (3, *reference.shape[:2])
    assert picture.dtype == np.float32
    assert picture.flags.c_contiguous
    # Another libjpeg may decode to neighbouring values: two steps of 255, where a second drawing differs by dozens.
    np.testing.assert_allclose((picture.transpose(1, 2, 0) + 1) * 127.5, reference, atol=2.001)


def test_the_file_equals_that_of_matplotlib(matplotlib_drawing):
    file = BytesIO()
    image.save_jpeg(WINDOWS["cqt"], file)
    assert file.getvalue() == matplotlib_drawing.jpeg(WINDOWS["cqt"])


def test_low_frequencies_are_at_the_bottom_and_time_runs_to_the_right():
    rising = np.add.outer(np.arange(84.0), np.zeros(490)).astype(np.float32)
    places = darkest_to_lightest(rising)
    assert (places[0] == 255).all() and (places[-1] == 0).all()
    assert (np.diff(places, axis=0) <= 0).all()
    places = darkest_to_lightest(np.ascontiguousarray(np.broadcast_to(np.arange(490.0, dtype=np.float32), (84, 490))))
    assert (places[:, 0] == 0).all() and (places[:, -1] == 255).all()
    assert (np.diff(places, axis=1) >= 0).all()


def test_the_colours_span_the_range_of_the_window():
    window = WINDOWS["cqt"]
    np.testing.assert_array_equal(image.draw(window / 4 - 32), image.draw(window))  # a power of two rounds nothing


@pytest.mark.parametrize("value", [0.0, -80.0, -1e-30])
def test_a_constant_window_has_the_darkest_colour(value):
    assert (image.draw(np.full((84, 30), value, dtype=np.float32)) == MAGMA[0]).all()


def test_nearly_constant_window_has_both_ends_of_the_colours():
    window = np.full((84, 30), -80.0, dtype=np.float32)
    window[0, 0] = np.nextafter(np.float32(-80.0), np.float32(0))
    assert set(np.unique(darkest_to_lightest(window))) == {0, 255}


def test_one_frame_fills_the_picture():
    frame = noise(84, 1)
    np.testing.assert_array_equal(image.draw(frame), image.draw(np.repeat(frame, 2, axis=1)))
    row = noise(1, 490)
    np.testing.assert_array_equal(image.draw(row), image.draw(np.repeat(row, 2, axis=0)))


def test_the_input_is_not_changed_and_its_layout_does_not_matter():
    window = WINDOWS["cqt"].copy()
    window.flags.writeable = False
    picture = image.draw(window)
    np.testing.assert_array_equal(image.draw(np.asfortranarray(window)), picture)
    np.testing.assert_array_equal(image.draw(np.repeat(window, 2, axis=1)[:, ::2]), picture)


def test_double_precision_is_rounded_to_single_first():
    on_the_borders_between_colours = np.arange(257.0)[np.newaxis]
    window = on_the_borders_between_colours.copy()
    window[:, 1:-1] -= 1e-9  # below them, and back on them when rounded
    np.testing.assert_array_equal(image.draw(window), image.draw(on_the_borders_between_colours))


@pytest.mark.parametrize("bad_value", [np.nan, np.inf, -np.inf])
def test_non_finite_values_are_refused(bad_value):
    window = WINDOWS["cqt"].copy()
    window[40, 200] = bad_value
    with pytest.raises(InvalidParameter, match="finite"):
        image.draw(window)


@pytest.mark.parametrize("shape", [(84,), (0, 10), (84, 0), (1, 84, 10)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(InvalidParameter, match="bins, frames"):
        image.draw(np.zeros(shape, dtype=np.float32))


@pytest.mark.parametrize("size", [(0, 224), (224, -1)])
def test_a_picture_without_pixels_is_refused(size):
    with pytest.raises(InvalidParameter, match="size must be at least 1 x 1"):
        image.network_picture(WINDOWS["cqt"], size)


def test_heavy_packages_are_not_imported():
    script = (
        "import sys, numpy; from ccmusic.features.image import network_picture;"
        "network_picture(numpy.eye(84, 100, dtype='f4'));"
        "print(sorted({'matplotlib', 'librosa', 'numba', 'torch', 'scipy', 'pandas'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_picture_is_a_jpeg_of_the_whole_drawing(tmp_path):
    path = tmp_path / "window.jpg"
    with path.open("wb") as file:
        image.save_jpeg(WINDOWS["cqt"], file)
    with Image.open(path) as picture:
        assert (picture.format, picture.size, picture.mode) == ("JPEG", (image.WIDTH, image.HEIGHT), "RGB")
