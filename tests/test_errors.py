import pickle
import re

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


def test_the_tree_in_the_docstring_has_every_class_below_its_base():
    above, drawn = ["CcmusicError"], []
    for bars, name in re.findall(r"^    ([│ ├└─]+ )(\w+) ", errors.__doc__, re.MULTILINE):
        depth = len(bars) // 4
        above[depth:] = [name]
        drawn.append((name, above[depth - 1]))
    assert sorted(drawn) == sorted(
        (cls.__name__, cls.__base__.__name__) for cls in _tree(errors.CcmusicError) if cls is not errors.CcmusicError
    )


@pytest.mark.parametrize(
    ("instead", "end"), [("", "'ccmusic[tags]'"), ("leave tags out", "'ccmusic[tags]', or leave tags out")]
)
@pytest.mark.parametrize("kind", [errors.PackageMissing, errors.DependencyUnavailable])
def test_a_failing_import_names_the_extra(kind, instead, end):
    need = "tags need the package no_such_package"
    with pytest.raises(kind) as caught, errors.of_extra("tags", need, instead, kind):
        import no_such_package  # noqa: F401
    cause = "which cannot be imported (No module named 'no_such_package')"
    assert str(caught.value) == f"{need}, {cause}: install the extra with pip install {end}"


def test_a_missing_package_is_no_error_of_the_model():
    assert not issubclass(errors.PackageMissing, errors.ModelError)
