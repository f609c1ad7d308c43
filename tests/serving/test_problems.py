"""Errors as problem details."""

import errno
import json
import logging

import pytest

from ccmusic import errors
from ccmusic.serving.problems import INTERNAL_DETAIL, MEDIA_TYPE, PROBLEMS, problem_of, problem_response
from ccmusic.serving.schemas import Problem


def test_every_slug_has_a_status_and_a_title():
    assert PROBLEMS.keys() == set(errors.SLUGS)
    assert all(400 <= status < 600 and title for status, title in PROBLEMS.values())


def test_every_error_class_becomes_a_valid_problem():
    constructor_arguments = {errors.InvalidParameter: ("top_k", "must be 1 to 16, not 40")}
    for cls in (getattr(errors, name) for name in errors.__all__):
        response = problem_response(cls(*constructor_arguments.get(cls, ("the cause",))), "id-1")
        problem = Problem.model_validate_json(bytes(response.body), strict=True)
        slug = "about:blank" if cls is errors.TooManyRequests else cls.slug
        assert (problem.type, problem.status, problem.request_id) == (slug, response.status_code, "id-1")
        assert response.media_type == MEDIA_TYPE


def test_the_text_of_an_error_is_sent():
    problem = problem_of(errors.EmptyAudio("the file has no samples"))
    assert (problem.slug, problem.status, problem.detail) == ("empty-audio", 422, "the file has no samples")
    assert problem.headers == {}


@pytest.mark.parametrize("error", [RuntimeError("secret"), errors.WorkerDied("secret"), errors.CcmusicError("secret")])
def test_the_text_of_an_internal_error_is_logged_and_not_sent(error, caplog):
    with caplog.at_level(logging.ERROR):
        problem = problem_of(error, "id-1")
    assert (problem.slug, problem.status, problem.detail) == ("internal", 500, INTERNAL_DETAIL)
    assert "secret" in caplog.text
    assert "id-1" in caplog.text


def test_an_invalid_parameter_is_named():
    body = problem_of(errors.InvalidParameter("top_k", "must be 1 to 16, not 40")).as_json()
    assert (body["parameter"], body["detail"]) == ("top_k", "top_k must be 1 to 16, not 40")
    assert "parameter" not in problem_of(errors.EmptyAudio("no samples")).as_json()


@pytest.mark.parametrize("value", ["x" * 10**6, "a\nb\x1b[2J", "\ud800"])
def test_a_value_of_the_client_is_repeated_as_one_short_line(value):
    body = problem_response(errors.InvalidParameter("windows", f"must be whole, not {value}")).body
    assert len(body) < 1000
    assert json.loads(body)["detail"].isprintable()


@pytest.mark.parametrize(
    ("number", "status"), [(errno.EMFILE, 503), (errno.ENFILE, 503), (errno.ENOSPC, 507), (errno.EPERM, 500)]
)
def test_errors_of_the_system_that_more_room_would_mend(number, status):
    assert problem_of(OSError(number, "text")).status == status


def test_the_request_id_is_omitted_if_there_is_none():
    assert "request_id" not in json.loads(problem_response(errors.EmptyAudio("no samples")).body)


def test_a_client_that_sends_too_much_gets_429():
    problem = problem_of(errors.TooManyRequests("you may send 2", retry_after_seconds=6.2))
    assert (problem.slug, problem.status, problem.headers) == ("about:blank", 429, {"Retry-After": "7"})
    assert problem.as_json()["title"] == "Too Many Requests"


@pytest.mark.parametrize(
    ("error", "seconds"),
    [(errors.Overloaded("full", retry_after_seconds=6.2), "7"), (errors.ModelNotReady("still loading"), "2")],
)
def test_status_503_has_retry_after_in_whole_seconds(error, seconds):
    assert problem_of(error).headers == {"Retry-After": seconds}
    assert problem_response(error).headers["retry-after"] == seconds
