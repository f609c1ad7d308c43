"""Which track of several is heard."""

from __future__ import annotations

import numpy as np
import pytest
from av.stream import Disposition

from ccmusic.audio.decode import SAMPLE_RATE, decode
from ccmusic.errors import UnsupportedMedia
from fuzz.containers.matroska import MATROSKA
from fuzz.part import Part
from fuzz.seeds import changed, element, find
from support.encoding import noise, tone, with_ffmpeg
from support.tracks import MARK, asf_header, encrypted, frequency_of, sound, with_tracks

OTHER, RIGHT = sound(330.0), sound(MARK)
NO_FLAGS = Disposition(0)


def heard(content: bytes, **options) -> float:
    return frequency_of(decode(content, **options).waveform, SAMPLE_RATE)


@pytest.mark.parametrize(
    ("form", "codec", "first", "second"),
    [
        ("mp4", "aac", NO_FLAGS, Disposition.default),
        ("mov", "pcm_s16le", NO_FLAGS, Disposition.default),
        ("matroska", "libopus", NO_FLAGS, Disposition.default),
        ("matroska", "libopus", Disposition.comment, NO_FLAGS),
        ("matroska", "libopus", Disposition.visual_impaired | Disposition.default, NO_FLAGS),
    ],
)
def test_the_default_track_is_heard_and_not_the_first(form, codec, first, second):
    assert heard(with_tracks(form, codec, OTHER, RIGHT, dispositions=(first, second))) == pytest.approx(MARK, abs=2)


@pytest.mark.parametrize("form", ["mp4", "matroska", "mpegts"])
def test_the_first_track_is_heard_if_none_is_the_default(form):
    content = with_tracks(form, "aac", RIGHT, OTHER, dispositions=(NO_FLAGS, NO_FLAGS))
    assert heard(content) == pytest.approx(MARK, abs=2)


@pytest.mark.parametrize("peak", [0.0, 2e-4])
def test_a_silent_track_is_not_the_answer(peak):
    """The microphone of a camera that is not connected: zeros, or the noise of its amplifier."""
    silent = (2 * peak * noise(1.0, 48_000)[:, 0]).astype(np.float32)
    content = with_tracks("mov", "pcm_s24le", silent, silent, RIGHT, OTHER)
    assert heard(content) == pytest.approx(MARK, abs=2)
    assert heard(content, first_seconds=0.5) == pytest.approx(MARK, abs=2)


def test_silence_is_the_answer_if_every_track_is_silent():
    recording = decode(with_tracks("mov", "pcm_s16le", 0 * OTHER, 0 * OTHER))
    assert recording.duration_seconds == 1.0
    assert not recording.waveform.any()


def test_a_silent_track_is_the_answer_if_the_other_is_broken():
    content = with_tracks("matroska", "pcm_s16le flac", 0 * OTHER, RIGHT)
    assert not decode(content.replace(b"\xff\xf8", bytes(2))).waveform.any()


def test_the_commentary_is_not_tried_while_there_is_another_track():
    dispositions = (Disposition.default, Disposition.comment)
    content = with_tracks("matroska", "flac", 0 * OTHER, RIGHT, dispositions=dispositions)
    assert not decode(content).waveform.any()


def test_a_track_in_a_codec_that_is_not_decoded_is_left_out():
    content = with_tracks("matroska", "pcm_s16le", OTHER, RIGHT).replace(b"A_PCM/INT/LIT", b"A_XYZ/INT/LIT", 1)
    assert heard(content) == pytest.approx(MARK, abs=2)


def test_the_refusal_names_the_codec():
    with pytest.raises(UnsupportedMedia, match=r"codec in this file \(dfpwm\) is not supported"):
        decode(with_tracks("wav", "dfpwm", OTHER))
    content = with_tracks("matroska", "pcm_s16le", OTHER).replace(b"A_PCM/INT/LIT", b"A_XYZ/INT/LIT")
    with pytest.raises(UnsupportedMedia, match="codec in this file is not supported"):
        decode(content)


class TestProtected:
    def test_sound_that_is_encrypted_is_refused_as_protected(self):
        with pytest.raises(UnsupportedMedia, match="protected"):
            decode(encrypted(with_ffmpeg("mp4", "aac", tone(sample_rate=48_000))))

    def test_an_encrypted_track_of_matroska(self):
        key = element("5035", element("47e1", b"\5"), element("47e2", bytes(16)))
        encoding = element("6240", element("5031", b"\0"), element("5032", b"\1"), element("5033", b"\1"), key)

        def encrypt(parts: list[Part]) -> None:
            find(parts, b"\xae").parts.append(element("6d80", encoding))

        content = with_tracks("matroska", "aac", OTHER, RIGHT)
        assert heard(content) == pytest.approx(330, abs=2)
        assert heard(changed(MATROSKA, content, encrypt)) == pytest.approx(MARK, abs=2)
        with pytest.raises(UnsupportedMedia, match="protected"):
            decode(changed(MATROSKA, with_tracks("matroska", "aac", OTHER), encrypt))

    def test_wma_with_an_encryption_object(self):
        with pytest.raises(UnsupportedMedia, match="protected"):
            decode(asf_header(bytes.fromhex("fbb31122 23bdd211 b4b700a0c955fc6e") + bytes(16)))

    def test_a_track_that_is_not_encrypted_is_heard(self):
        content = encrypted(with_tracks("mp4", "aac", OTHER, RIGHT))
        assert heard(content) == pytest.approx(MARK, abs=2)
