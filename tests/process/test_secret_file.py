import codecs

import pytest

from ccmusic.process.secret_file import read_secret


@pytest.mark.parametrize(
    "content",
    [
        b"secret",
        b"secret\n",
        b"secret\r\n",
        codecs.BOM_UTF8 + b"secret\r\n",
        codecs.BOM_UTF16_LE + "secret\r\n".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "secret\n".encode("utf-16-be"),
    ],
)
def test_what_editors_write_around_a_secret_does_not_belong_to_it(tmp_path, content):
    (tmp_path / "token").write_bytes(content)
    assert read_secret(tmp_path / "token") == "secret"


@pytest.mark.parametrize("content", [b"", b"\r\n", codecs.BOM_UTF8])
def test_an_empty_file_is_no_secret(tmp_path, content):
    (tmp_path / "token").write_bytes(content)
    assert read_secret(tmp_path / "token") is None


def test_a_file_that_is_not_text(tmp_path):
    (tmp_path / "token").write_bytes(b"\x80\x81")
    with pytest.raises(UnicodeDecodeError):
        read_secret(tmp_path / "token")
