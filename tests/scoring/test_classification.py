from __future__ import annotations

import numpy as np
import pytest

from ccmusic.genres import LABELS
from ccmusic.scoring.calibration import (
    cross_fitted,
    fit_temperature,
    shortest_trusted,
    sure_thresholds,
    uncertain_threshold,
)
from ccmusic.scoring.classification import (
    calibration_error_by_chance,
    expected_calibration_error,
    f1_by_class,
    scores,
    top_k_accuracy,
    track_probabilities,
)
from ccmusic.training.predict import clip_of, track_windows


def test_calibration_error_of_a_known_case() -> None:
    # four answers at 0.9, three right (0.15 too sure); four at 0.6, all right (0.4 too modest): the gaps do not cancel
    top = np.array([0.9] * 4 + [0.6] * 4)
    probabilities = np.column_stack([top, 1 - top])
    reference = np.array([0, 0, 0, 1, 0, 0, 0, 0])
    assert expected_calibration_error(reference, probabilities) == pytest.approx((4 * 0.15 + 4 * 0.4) / 8)


def test_certainty_lies_in_the_last_bin() -> None:
    assert expected_calibration_error(np.array([0, 0]), np.array([[1.0, 0.0], [1.0, 0.0]])) == 0.0


def test_a_calibrated_model_shows_an_error_on_few_recordings() -> None:
    # 100 answers at 0.8 in one bin: the gap is that of a share of 100, half-normal, and 1.96 deviations once in 20
    deviation = np.sqrt(0.8 * 0.2 / 100)
    mean, high = calibration_error_by_chance(np.tile([0.8, 0.2], (100, 1)), draws=4000)
    assert mean == pytest.approx(deviation * np.sqrt(2 / np.pi), rel=0.05)
    assert high == pytest.approx(1.96 * deviation, rel=0.06)
    assert calibration_error_by_chance(np.tile([0.8, 0.2], (10_000, 1)))[1] < high / 8
    assert calibration_error_by_chance(np.tile([1.0, 0.0], (5, 1))) == (0.0, 0.0)


def test_the_errors_of_calibrated_models_lie_where_chance_puts_them() -> None:
    generator = np.random.default_rng(1)
    probabilities = generator.dirichlet(np.full(4, 0.5), 300)
    mean, high = calibration_error_by_chance(probabilities)
    drawn = [(probabilities.cumsum(axis=1) < generator.random((300, 1))).sum(axis=1) for _ in range(400)]
    found = np.array([expected_calibration_error(reference, probabilities) for reference in drawn])
    assert found.mean() == pytest.approx(mean, rel=0.1)
    assert np.mean(found > high) == pytest.approx(0.05, abs=0.03)


def test_f1_and_top_k_of_a_known_case() -> None:
    reference = np.array([0, 0, 1, 2])
    probabilities = np.array([[0.6, 0.3, 0.1, 0], [0.2, 0.7, 0.1, 0], [0.1, 0.8, 0.1, 0], [0.5, 0.1, 0.4, 0]])
    assert f1_by_class(reference, probabilities)[:3] == pytest.approx([0.5, 2 / 3, 0.0])
    assert np.isnan(f1_by_class(reference, probabilities)[3])
    assert top_k_accuracy(reference, probabilities) == 0.5
    assert top_k_accuracy(reference, probabilities, 2) == 1.0


def test_coarse_levels_forgive_within_a_group() -> None:
    soft_rock, acoustic, dance = (LABELS.index(label) for label in ("Soft_rock", "Acoustic_pop", "Dance_pop"))
    measured = scores(np.array([soft_rock, dance]), np.eye(16)[[acoustic, dance]])
    assert measured["top1_16"] == 0.5
    assert measured["top1_9"] == 1.0
    assert measured["top1_2"] == 1.0


@pytest.mark.parametrize("true_temperature", [0.6, 1.0, 2.5])
def test_temperature_is_recovered(true_temperature: float) -> None:
    generator = np.random.default_rng(16)
    honest = generator.normal(size=(6000, 1, 16)) * 2
    probabilities = track_probabilities(honest)
    reference = np.array([generator.choice(16, p=row) for row in probabilities])
    assert fit_temperature(reference, honest * true_temperature) == pytest.approx(true_temperature, rel=0.06)


def test_track_is_the_mean_of_the_windows_it_has() -> None:
    logits = np.log(np.array([[[0.8, 0.2], [0.4, 0.6]], [[0.1, 0.9], [np.nan, np.nan]]]))
    np.testing.assert_allclose(track_probabilities(logits), [[0.6, 0.4], [0.1, 0.9]])


def test_cross_fitting_leaves_out_the_fold_itself() -> None:
    generator = np.random.default_rng(2)
    logits = generator.normal(size=(200, 1, 16)) * 3
    reference, fold = logits[:, 0].argmax(axis=1), np.repeat([0, 1], 100)
    probabilities = cross_fitted(reference, logits, fold)
    other = reference.copy()
    other[fold == 1] = 0  # now fold 1 is nearly always wrong, which only fold 0 may learn from
    changed = cross_fitted(other, logits, fold)
    np.testing.assert_allclose(changed[fold == 1], probabilities[fold == 1])
    assert changed[fold == 0].max() < probabilities[fold == 0].max() - 0.1


def test_threshold_is_the_lowest_that_is_right_often_enough() -> None:
    top = np.array([0.9, 0.8, 0.7, 0.5, 0.4, 0.3])
    probabilities = np.column_stack([top, 1 - top])
    probabilities[top < 0.5] = np.column_stack([1 - top[top < 0.5] - 0.2, top[top < 0.5] + 0.2])
    reference = np.array([0, 0, 0, 1, 1, 1])
    reference[4:] = 0
    found = uncertain_threshold(reference, probabilities, precision=0.75)
    passed = probabilities.max(axis=1) >= found["uncertain_below"]
    right = probabilities.argmax(axis=1) == reference
    assert right[passed].mean() >= 0.75
    assert found["coverage"] == pytest.approx(passed.mean(), abs=1e-3)
    lower = probabilities.max(axis=1) >= found["uncertain_below"] - 0.01
    assert right[lower].mean() < 0.75


def test_an_answer_is_sure_of_a_level_from_the_probability_at_which_answers_are_right_there() -> None:
    # leaf right when it has 0.8 or more, group of nine right always: what the leaf lacks lies in the same group
    soft_rock, acoustic, dance = (LABELS.index(label) for label in ("Soft_rock", "Acoustic_pop", "Dance_pop"))
    top = np.array([0.9, 0.8, 0.7, 0.65, 0.6, 0.55, 0.52, 0.51])
    probabilities = np.zeros((8, 16))
    probabilities[:, soft_rock], probabilities[:, acoustic] = top, 1 - top
    reference = np.where(top >= 0.8, soft_rock, acoustic)
    found = sure_thresholds(reference, probabilities)
    assert found[16] == {"threshold": 0.71, "precision": 1.0, "coverage": 0.25}
    assert found[9] == {"threshold": 0.7, "precision": 1.0, "coverage": 1.0}
    assert sure_thresholds(np.full(8, dance), probabilities)[16] == {
        "threshold": 1.0,
        "precision": 0.0,
        "coverage": 0.0,
    }


def test_shortest_trusted_length() -> None:
    reference = np.zeros(20, dtype=int)

    def right(count: int) -> np.ndarray:
        return np.eye(16)[np.where(np.arange(20) < count, 0, 1)][:, None]

    assert shortest_trusted(reference, {1.0: right(7), 3.0: right(9), 30.0: right(10)}) == 3.0
    assert shortest_trusted(reference, {1.0: right(9), 3.0: right(9), 30.0: right(10)}) == 1.0


def test_a_track_is_cut_as_the_service_cuts_it() -> None:
    track = np.tile(np.arange(1292, dtype=np.float32), (84, 1))
    windows = track_windows(track)
    assert windows.shape == (3, 84, 431)
    assert windows[:, 0, 0].tolist() == [0.0, 430.0, 861.0]
    assert windows[-1, 0, -1] == 1291
    assert track_windows(track[:, :100]).shape == (1, 84, 100)


def test_a_short_recording_has_its_own_reference() -> None:
    track = np.full((84, 900), -60.0, dtype=np.float32)
    track[3, 5] = 0
    assert clip_of(track, 3.0, 1.0).max() == 0
    assert clip_of(track, 3.0, 1.0).min() == 0
    assert clip_of(track, 3.0, 0.0)[0, 0] == -60
    assert clip_of(track, 3.0, 0.0).shape == (84, 130)
