"""The errors that a hub's refusals become."""

import pytest

from ccmusic.checkpoints.hub.client import refusal
from ccmusic.checkpoints.hub.http import Denied
from ccmusic.errors import ModelFileNotFound, ModelRefused


@pytest.mark.parametrize(
    ("denied", "kind", "message"),
    [
        (Denied(401, "GatedRepo"), ModelRefused, "x is gated or private (HTTP 401)"),
        (Denied(403), ModelRefused, "set TOKEN to a token that may read it"),
        (Denied(404, "RevisionNotFound"), ModelFileNotFound, "x has no such revision"),
        (Denied(404, "EntryNotFound"), ModelFileNotFound, "x has no such file"),
        (Denied(404), ModelFileNotFound, "x does not exist there, or is private (then set TOKEN)"),
        (Denied(410, "Gone"), ModelRefused, "x is refused: HTTP 410, Gone; try the other hub"),
    ],
)
def test_each_refusal_says_what_to_do(denied, kind, message):
    error = refusal(denied, "x", "TOKEN", may_send_token=True)
    assert type(error) is kind
    assert message in str(error)


def test_a_mirror_that_gets_no_token_is_mentioned_only_where_a_token_would_help():
    hint = "the token is not sent to a mirror"
    assert hint in str(refusal(Denied(403), "x", "TOKEN", may_send_token=False))
    assert hint not in str(refusal(Denied(403), "x", "TOKEN", may_send_token=True))
    assert hint not in str(refusal(Denied(404, "EntryNotFound"), "x", "TOKEN", may_send_token=False))
