from __future__ import annotations

import numpy as np
import pytest

from ccmusic.scoring.temperature import as_tracks, cross_fitted, fit_temperature, track_probabilities


@pytest.mark.parametrize("true_temperature", [0.6, 1.0, 2.5])
def test_temperature_is_recovered(true_temperature: float) -> None:
    generator = np.random.default_rng(16)
    honest = generator.normal(size=(6000, 1, 16)) * 2
    probabilities = track_probabilities(honest)
    reference = np.array([generator.choice(16, p=row) for row in probabilities])
    assert fit_temperature(reference, honest * true_temperature) == pytest.approx(true_temperature, rel=0.06)


def test_a_track_is_the_mean_of_its_windows() -> None:
    logits = np.log(np.array([[[0.8, 0.2], [0.4, 0.6]], [[0.1, 0.9], [np.nan, np.nan]]]))
    np.testing.assert_allclose(track_probabilities(logits), [[0.6, 0.4], [0.1, 0.9]])


def test_cross_fitting_does_not_use_the_fold_itself() -> None:
    generator = np.random.default_rng(2)
    logits = generator.normal(size=(200, 1, 16)) * 3
    reference, fold = logits[:, 0].argmax(axis=1), np.repeat([0, 1], 100)
    probabilities = cross_fitted(reference, logits, fold)
    other = reference.copy()
    other[fold == 1] = 0  # now fold 1 is nearly always wrong: this must change the temperature of fold 0 only
    changed = cross_fitted(other, logits, fold)
    np.testing.assert_allclose(changed[fold == 1], probabilities[fold == 1])
    assert changed[fold == 0].max() < probabilities[fold == 0].max() - 0.1


def test_each_recording_of_a_clip_becomes_a_track() -> None:
    reference, logits = as_tracks(np.array([7, 8]), np.arange(12).reshape(2, 3, 2, 1))
    assert reference.tolist() == [7, 7, 7, 8, 8, 8]
    assert logits[:, :, 0].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]]
