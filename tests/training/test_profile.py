from pathlib import Path

import numpy as np
import pytest

from ccmusic.features.cqt import FMIN
from ccmusic.models.card import read_card
from ccmusic.models.store import EMBEDDED_DIRECTORY
from ccmusic.training.data import load
from ccmusic.training.profile import clustered_error, describe, main, spread


def test_clips_of_one_artist_count_as_one_observation():
    values = np.array([[0.0], [0.0], [1.0], [1.0]])
    independent = clustered_error(values, np.array(["a", "b", "c", "d"]))
    alike = clustered_error(values, np.array(["a", "a", "b", "b"]))
    assert independent == pytest.approx([0.25])  # the usual standard error: deviation 0.5, divided by the root of 4
    assert alike == pytest.approx([0.5 / np.sqrt(2)])  # two artists are two observations


def test_mean_and_quantiles_of_known_numbers():
    found = spread(np.arange(101.0))
    assert (found.mean, found.quantiles[5], found.rank(75.0)) == (50.0, 25.0, pytest.approx(0.75))


@pytest.mark.parametrize("values", [[], [3.0, 3.0], [0.5, 0.500001]])
def test_numbers_that_do_not_vary_are_left_out(values: list[float]):
    assert spread(np.array(values)) is None


def test_the_description_comes_from_the_answers_of_the_network(data_directory: Path):
    card = read_card(EMBEDDED_DIRECTORY / "card.json")
    dataset = load(data_directory)
    mix, reference = describe(EMBEDDED_DIRECTORY / card.file, dataset, card.temperature(10.0))
    assert sum(mix) == pytest.approx(1, abs=1e-3)
    assert (reference.recordings, reference.artists) == (40, 20)
    assert 1 / 16 < reference.confidence.quantiles[0] < reference.confidence.mean < reference.confidence.quantiles[-1]
    assert FMIN < reference.bandwidth_hz.mean < FMIN * 2**7
    assert reference.level_dbfs is None  # the same for all clips of this data


def test_the_command_writes_the_description_into_the_card(data_directory: Path, tmp_path: Path):
    shipped = read_card(EMBEDDED_DIRECTORY / "card.json")
    (tmp_path / shipped.file).write_bytes((EMBEDDED_DIRECTORY / shipped.file).read_bytes())
    shipped.model_copy(update={"reference": None}).save(tmp_path)
    main(["--data", str(data_directory), "--model", str(tmp_path)])
    found = read_card(tmp_path / "card.json")
    assert found.reference.recordings == 40
    assert found.model_copy(update={"reference": None, "reference_mix": None}) == shipped.model_copy(
        update={"reference": None, "reference_mix": None}
    )
