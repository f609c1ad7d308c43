import pickle

import pytest

from ccmusic import errors
from ccmusic.serving.problems import PROBLEMS


def _tree(cls):
    yield cls
    for child in cls.__subclasses__():
        yield from _tree(child)


def _instance(cls):
    return cls("top_k", "must be 1 to 16") if cls is errors.InvalidParameter else cls("a sentence")


@pytest.mark.parametrize("cls", list(_tree(errors.CcmusicError)))
def test_every_error_survives_the_pipe_from_a_worker(cls):
    error = _instance(cls)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (cls, str(error))


def test_overloaded_keeps_its_retry_time_through_the_pipe():
    assert pickle.loads(pickle.dumps(errors.Overloaded("full", 7.0))).retry_after_seconds == 7.0


def test_slugs_and_problem_types_are_the_same_closed_set():
    assert {cls.slug for cls in _tree(errors.CcmusicError)} == set(PROBLEMS) == set(errors.SLUGS)


def test_all_names_every_class():
    assert sorted(errors.__all__) == sorted(cls.__name__ for cls in _tree(errors.CcmusicError))
