from __future__ import annotations

import numpy as np
import pytest

from ccmusic.scoring.calibration import calibration_error_by_chance, expected_calibration_error, reliability_curve


def test_calibration_error_of_a_known_case() -> None:
    # four answers at 0.9, three right: gap 0.15; four at 0.6, all right: gap -0.4; they must not cancel
    top = np.array([0.9] * 4 + [0.6] * 4)
    probabilities = np.column_stack([top, 1 - top])
    reference = np.array([0, 0, 0, 1, 0, 0, 0, 0])
    assert expected_calibration_error(reference, probabilities) == pytest.approx((4 * 0.15 + 4 * 0.4) / 8)


def test_a_probability_of_one_counts_in_the_last_bin() -> None:
    assert expected_calibration_error(np.array([0, 0]), np.array([[1.0, 0.0], [1.0, 0.0]])) == 0.0


def test_a_calibrated_model_has_an_error_on_few_recordings() -> None:
    # 100 answers at 0.8 in one bin: the gap is half-normal; its 95th percentile is 1.96 standard deviations
    deviation = np.sqrt(0.8 * 0.2 / 100)
    mean, high = calibration_error_by_chance(np.tile([0.8, 0.2], (100, 1)), draws=4000)
    assert mean == pytest.approx(deviation * np.sqrt(2 / np.pi), rel=0.05)
    assert high == pytest.approx(1.96 * deviation, rel=0.06)
    assert calibration_error_by_chance(np.tile([0.8, 0.2], (10_000, 1)))[1] < high / 8
    assert calibration_error_by_chance(np.tile([1.0, 0.0], (5, 1))) == (0.0, 0.0)


def test_errors_of_simulated_calibrated_models_match_the_estimate() -> None:
    generator = np.random.default_rng(1)
    probabilities = generator.dirichlet(np.full(4, 0.5), 300)
    mean, high = calibration_error_by_chance(probabilities)
    drawn = [(probabilities.cumsum(axis=1) < generator.random((300, 1))).sum(axis=1) for _ in range(400)]
    found = np.array([expected_calibration_error(reference, probabilities) for reference in drawn])
    assert found.mean() == pytest.approx(mean, rel=0.1)
    assert np.mean(found > high) == pytest.approx(0.05, abs=0.03)


def test_reliability_curve_of_a_known_case() -> None:
    top = np.array([0.9, 0.95, 0.55, 1.0])
    probabilities = np.column_stack([top, 1 - top])
    confidence, accuracy, count = reliability_curve(np.array([0, 1, 0, 0]), probabilities, bins=10)
    assert confidence == pytest.approx([0.55, 0.95])
    assert accuracy == pytest.approx([1.0, 2 / 3])
    assert count.tolist() == [1, 3]
