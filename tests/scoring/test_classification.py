from __future__ import annotations

import numpy as np
import pytest

from ccmusic.scoring.classification import (
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    f1_by_class,
    in_top_k,
    macro_f1,
    mean_log_loss,
    precision_by_class,
    recall_by_class,
    top_k_accuracy,
    validate,
)

# references a, a, b, c; answers a, b, b, a; class d has neither
REFERENCE = np.array([0, 0, 1, 2])
PROBABILITIES = np.array([[0.6, 0.3, 0.1, 0], [0.2, 0.7, 0.1, 0], [0.1, 0.8, 0.1, 0], [0.5, 0.1, 0.4, 0]])
CONFUSION = confusion_matrix(REFERENCE, PROBABILITIES)


def test_the_confusion_matrix_has_references_as_rows() -> None:
    assert CONFUSION.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_measures_of_each_class_are_nan_where_they_would_divide_by_zero() -> None:
    assert precision_by_class(CONFUSION) == pytest.approx([0.5, 0.5, np.nan, np.nan], nan_ok=True)
    assert recall_by_class(CONFUSION) == pytest.approx([0.5, 1.0, 0.0, np.nan], nan_ok=True)
    assert f1_by_class(CONFUSION) == pytest.approx([0.5, 2 / 3, 0.0, np.nan], nan_ok=True)


def test_means_over_classes_leave_out_classes_without_references() -> None:
    assert macro_f1(REFERENCE, PROBABILITIES) == pytest.approx((0.5 + 2 / 3 + 0) / 3)
    assert balanced_accuracy(REFERENCE, PROBABILITIES) == 0.5
    # a class with estimates and without references
    assert macro_f1(np.array([0, 0]), np.eye(2)) == pytest.approx(2 / 3)


def test_accuracy_and_top_k() -> None:
    assert accuracy(CONFUSION) == top_k_accuracy(REFERENCE, PROBABILITIES) == 0.5
    assert top_k_accuracy(REFERENCE, PROBABILITIES, 2) == 1.0
    assert in_top_k(REFERENCE, PROBABILITIES).tolist() == [True, False, True, False]


def test_log_loss_of_a_known_case() -> None:
    assert mean_log_loss(REFERENCE, PROBABILITIES) == pytest.approx(-np.log([0.6, 0.2, 0.8, 0.4]).mean())
    assert mean_log_loss(np.array([3]), PROBABILITIES[:1]) == pytest.approx(-np.log(1e-12))


def test_measures_apply_to_each_matrix_of_a_stack() -> None:
    by_group = confusion_matrix(REFERENCE, PROBABILITIES, np.array([0, 2, 2, 0]))
    assert by_group.shape == (3, 4, 4)
    assert by_group.sum(axis=0).tolist() == CONFUSION.tolist()
    assert accuracy(by_group[[0, 2]]).tolist() == [0.5, 0.5]
    stacked = np.stack([CONFUSION, by_group[2]])
    np.testing.assert_array_equal(f1_by_class(stacked)[1], f1_by_class(by_group[2]))


def test_measures_equal_those_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(16)
    reference, probabilities = generator.integers(0, 5, 400), generator.random((400, 5))
    estimated, confusion = probabilities.argmax(axis=1), confusion_matrix(reference, probabilities)
    assert confusion.tolist() == metrics.confusion_matrix(reference, estimated).tolist()
    expected = metrics.precision_recall_fscore_support(reference, estimated)
    found = precision_by_class(confusion), recall_by_class(confusion), f1_by_class(confusion), confusion.sum(axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert macro_f1(reference, probabilities) == pytest.approx(
        metrics.f1_score(reference, estimated, average="macro"), rel=1e-12
    )
    assert balanced_accuracy(reference, probabilities) == pytest.approx(
        metrics.balanced_accuracy_score(reference, estimated), rel=1e-12
    )
    assert top_k_accuracy(reference, probabilities, 2) == metrics.top_k_accuracy_score(reference, probabilities, k=2)


@pytest.mark.parametrize(
    ("reference", "probabilities", "problem"),
    [
        (np.array([0, 1]), np.eye(3), "shapes"),
        (np.eye(2, dtype=int), np.eye(2), "shapes"),
        (np.array([], dtype=int), np.empty((0, 3)), "nothing to measure"),
        (np.array([0, 3]), np.eye(3)[:2], "from 0 to 2"),
        (np.array([-1, 0]), np.eye(3)[:2], "from 0 to 2"),
    ],
)
def test_arrays_that_cannot_be_compared_are_refused(
    reference: np.ndarray, probabilities: np.ndarray, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        validate(reference, probabilities)
