import http.client

import pytest

from ccmusic.operations.http_client import Response, request
from support.stub_http import stub_http


@pytest.mark.parametrize(
    ("body", "parsed", "status"),
    [
        (b'{"status": "ok"}', {"status": "ok"}, "ok"),
        (b"[1]", [1], None),
        (b"<html>", None, None),
        (b"[" * 99_999, None, None),
    ],
)
def test_a_body_need_not_be_json(body, parsed, status):
    response = Response(200, body)
    assert response.json() == parsed
    assert response.field("status") == status


def test_a_request_has_method_path_and_response():
    with stub_http(lambda method, path: (418, {"asked": f"{method} {path}"})) as url:
        response = request(f"{url}/prefix/", "/readyz", "POST")
    assert (response.status, response.field("asked")) == (418, "POST /prefix/readyz")


def test_a_broken_response_is_an_os_error(monkeypatch):
    def broken(_):
        raise http.client.BadStatusLine("nonsense")

    monkeypatch.setattr(http.client.HTTPConnection, "request", lambda *_: None)
    monkeypatch.setattr(http.client.HTTPConnection, "getresponse", broken)
    with pytest.raises(OSError, match="no HTTP response: BadStatusLine"):
        request("http://127.0.0.1:1", "/health")
