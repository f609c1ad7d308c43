"""Recordings whose sample rate or channels change, chains and joined files are heard whole, in order, at one rate."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile

from ccmusic.audio import decode as decode_module
from ccmusic.audio import ogg
from ccmusic.audio import parts as parts_module
from ccmusic.audio.audio_file import open_audio
from ccmusic.audio.budget import Budget
from ccmusic.audio.decode import SAMPLE_RATE, DecodeLimits, Recording, decode
from ccmusic.audio.formats import MP3
from ccmusic.audio.frames import read_header
from ccmusic.audio.identify import identify
from ccmusic.audio.parts import Part, split
from ccmusic.errors import AudioTooLong, UndecodableAudio
from support.encoding import AMPLITUDE, ENCODED, noise, with_ffmpeg, with_soundfile

LOW, HIGH, LAST = 300.0, 700.0, 1100.0
SECONDS = 2.0


def sine(frequency: float, sample_rate: int, channels: int = 2) -> np.ndarray:
    time = np.arange(int(SECONDS * sample_rate)) / sample_rate
    return np.tile(AMPLITUDE * np.sin(2 * np.pi * frequency * time)[:, np.newaxis], channels).astype(np.float32)


def mp3(frequency: float, sample_rate: int = 44_100, channels: int = 2) -> bytes:
    return with_soundfile("MP3", None, sine(frequency, sample_rate, channels), sample_rate)


def adts(frequency: float, sample_rate: int = 48_000) -> bytes:
    return with_ffmpeg("adts", "aac", sine(frequency, sample_rate), sample_rate)


def vorbis(frequency: float, sample_rate: int = 44_100, channels: int = 2) -> bytes:
    return with_soundfile("OGG", "VORBIS", sine(frequency, sample_rate, channels), sample_rate)


def opus(frequency: float, sample_rate: int = 48_000, channels: int = 2) -> bytes:
    return with_soundfile("OGG", "OPUS", sine(frequency, sample_rate, channels), sample_rate)


def ogg_flac(frequency: float, sample_rate: int = 48_000) -> bytes:
    return with_ffmpeg("ogg", "flac", sine(frequency, sample_rate), sample_rate)


def without_count(content: bytes) -> bytes:
    """An MP3 recording without the first frame, which says how many follow: 128 kbit/s at 44.1 kHz, not padded."""
    assert b"Xing" in content[:64] or b"Info" in content[:64]
    return content[content.index(b"\xff\xfb", 4) :]


def m4a(frequency: float, sample_rate: int = 48_000) -> bytes:
    return with_ffmpeg("ipod", "aac", sine(frequency, sample_rate), sample_rate)


def pcm(format_name: str, frequency: float, sample_rate: int = 44_100, channels: int = 2) -> bytes:
    return with_soundfile(format_name, "PCM_16", sine(frequency, sample_rate, channels), sample_rate)


TITLE = b"TAG" + b"t" * 125
TAG = b"ID3\3\0\0\0\0\x0f\x76" + b"\1" * 2038
CHAINS = {
    "mp3": [mp3(LOW), mp3(HIGH), mp3(LAST)],
    "mp3 with tags between": [TAG + mp3(LOW) + TITLE, TAG + mp3(HIGH) + TITLE, TAG + mp3(LAST) + TITLE],
    "mp3 without counts": [without_count(mp3(frequency)) for frequency in (LOW, HIGH, LAST)],
    "mp3 of three rates": [mp3(LOW), mp3(HIGH, 48_000), mp3(LAST, 22_050)],
    "mp3 of one and two channels": [mp3(LOW, channels=1), mp3(HIGH), mp3(LAST, channels=1)],
    "mp3 and adts": [mp3(LOW), adts(HIGH), mp3(LAST)],
    "adts": [adts(LOW), adts(HIGH), adts(LAST)],
    "adts with tags between": [TAG + adts(LOW), TAG + adts(HIGH), TAG + adts(LAST)],
    "adts of three rates": [adts(LOW), adts(HIGH, 44_100), adts(LAST, 32_000)],
    "vorbis": [vorbis(LOW), vorbis(HIGH), vorbis(LAST)],
    "vorbis of three rates": [vorbis(LOW), vorbis(HIGH, 22_050), vorbis(LAST, 48_000)],
    "vorbis of one and two channels": [vorbis(LOW, channels=1), vorbis(HIGH), vorbis(LAST, channels=1)],
    "opus": [opus(LOW), opus(HIGH), opus(LAST)],
    "opus of one and two channels": [opus(LOW, channels=1), opus(HIGH), opus(LAST, channels=1)],
    "flac in ogg": [ogg_flac(LOW), ogg_flac(HIGH), ogg_flac(LAST)],
    "flac in ogg of three rates": [ogg_flac(LOW), ogg_flac(HIGH, 44_100), ogg_flac(LAST, 96_000)],
    "wav": [pcm("WAV", LOW), pcm("WAV", HIGH), pcm("WAV", LAST)],
    "wav of three rates": [pcm("WAV", LOW), pcm("WAV", HIGH, 48_000), pcm("WAV", LAST, 16_000, 1)],
    "aiff": [pcm("AIFF", LOW), pcm("AIFF", HIGH), pcm("AIFF", LAST)],
    "flac": [pcm("FLAC", LOW), pcm("FLAC", HIGH), pcm("FLAC", LAST)],
    "flac of three rates": [pcm("FLAC", LOW), pcm("FLAC", HIGH, 48_000), pcm("FLAC", LAST, 16_000, 1)],
    "wav and others": [pcm("WAV", LOW), pcm("AIFF", HIGH), pcm("FLAC", LAST)],
    "m4a": [m4a(LOW), m4a(HIGH), m4a(LAST)],
    "m4a of three rates": [m4a(LOW), m4a(HIGH, 44_100), m4a(LAST, 32_000)],
    "every codec of ogg": [vorbis(LOW), opus(HIGH), ogg_flac(LAST, 44_100)],
}


def heard(recording: Recording, begin: float) -> float:
    """The frequency of the second from `begin` on, at the right level."""
    second = recording.waveform[int(begin * SAMPLE_RATE) :][:SAMPLE_RATE].astype(np.float64)
    assert np.sqrt(2 * np.mean(second**2)) == pytest.approx(AMPLITUDE, rel=0.05)
    return float(np.abs(np.fft.rfft(second * np.hanning(len(second)))).argmax() * SAMPLE_RATE / len(second))


@pytest.mark.parametrize("name", CHAINS)
def test_all_parts_are_heard_in_order(name):
    recording = decode(b"".join(CHAINS[name]))
    assert recording.duration_seconds == pytest.approx(3 * SECONDS, abs=0.3)
    assert len(recording.waveform) == pytest.approx(recording.duration_seconds * SAMPLE_RATE, abs=3)
    each = recording.duration_seconds / 3
    for place, frequency in enumerate((LOW, HIGH, LAST)):
        assert heard(recording, place * each + 0.5) == pytest.approx(frequency, abs=2.0)
    assert not recording.truncated


@pytest.mark.parametrize("name", ["mp3", "vorbis", "opus"])
def test_the_delay_of_each_part_is_removed(name):
    assert decode(b"".join(CHAINS[name])).duration_seconds == pytest.approx(3 * SECONDS, abs=1e-3)


@pytest.mark.parametrize("name", CHAINS)
def test_first_seconds_of_parts(name):
    recording = decode(b"".join(CHAINS[name]), first_seconds=3.6)
    assert recording.duration_seconds == pytest.approx(3.6, abs=1e-3)
    assert heard(recording, 2.4) == pytest.approx(HIGH, abs=2.0)


@pytest.mark.parametrize("name", CHAINS)
def test_parts_count_together_for_the_limit(name):
    content = b"".join(CHAINS[name])
    with pytest.raises(AudioTooLong, match="5 s"):
        decode(content, DecodeLimits(max_seconds=5.0))
    assert decode(content, DecodeLimits(max_seconds=6.5)).duration_seconds > 5.0


@pytest.mark.parametrize("chain", ["mp3", "adts", "vorbis", "opus", "flac in ogg"])
def test_a_hole_is_reported_and_what_follows_is_heard(chain):
    first, second, third = CHAINS[chain]
    begin, length = len(second) // 2, len(second) // 4
    holed = second[:begin] + bytes(length) + second[begin + length :]
    recording = decode(first + holed + third)
    assert recording.truncated
    assert recording.duration_seconds >= 4.0
    assert heard(recording, recording.duration_seconds - 1.5) == pytest.approx(LAST, abs=2.0)


def test_a_part_that_cannot_be_read_is_reported():
    broken = bytearray(vorbis(HIGH))
    page = broken.index(b"OggS", 4)
    broken[page + 40 : page + 400] = bytes(360)  # the headers of the codec
    recording = decode(vorbis(LOW) + bytes(broken) + vorbis(LAST))
    assert recording.truncated
    assert recording.duration_seconds == pytest.approx(2 * SECONDS, abs=0.01)
    with pytest.raises(UndecodableAudio):
        decode(bytes(broken) + bytes(broken))


def test_a_recording_of_a_running_stream_begins_between_pages():
    first, second, _ = CHAINS["vorbis"]
    recording = decode(first[first.index(b"OggS", 4) - 40 :] + second)
    assert recording.truncated
    assert recording.duration_seconds == pytest.approx(SECONDS, abs=1e-3)
    assert heard(recording, 0.5) == pytest.approx(HIGH, abs=2.0)


@pytest.mark.parametrize("bytes_factor", [0, 1, 1000])
@pytest.mark.parametrize("frames_factor", [0, 0.5, 10, 1000])
def test_a_wrong_number_of_frames_in_the_header_is_no_limit(frames_factor, bytes_factor):
    """It is damage only if the number of bytes says the same: one of the two is wrong otherwise."""
    content = bytearray(mp3(LOW))
    place = max(content[:64].find(b"Xing"), content[:64].find(b"Info")) + 8
    n_frames, n_bytes = struct.unpack(">II", content[place : place + 8])
    assert n_bytes == len(content)
    content[place : place + 8] = struct.pack(">II", int(n_frames * frames_factor), n_bytes * bytes_factor)
    recording = decode(bytes(content), DecodeLimits(max_seconds=10.0))
    assert recording.duration_seconds == pytest.approx(SECONDS, abs=0.1)
    assert heard(recording, 0.5) == pytest.approx(LOW, abs=2.0)
    assert recording.truncated == (frames_factor > 1 and bytes_factor != 1)


def test_a_guessed_length_is_no_limit_and_no_flag():
    """Variable bit rate without a header: a length guessed from the first frames, which are silent, is far too long."""
    samples = np.concatenate([np.zeros((44_100 * 4, 1), np.float32), noise(12.0)])
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 44_100, 1, format="MP3", bitrate_mode="VARIABLE") as sound:
        sound.write(samples)
    content = file.getvalue()
    for each in (content[content.index(b"\xff\xfb", 4) :], with_ffmpeg("adts", "aac", np.tile(samples, 2), 44_100)):
        recording = decode(each, DecodeLimits(max_seconds=17.0))
        assert recording.duration_seconds == pytest.approx(16.0, abs=0.1)
        assert not recording.truncated
        assert np.abs(recording.waveform[-SAMPLE_RATE:]).max() > 0.1


def test_frames_in_free_format_are_counted():
    """Of 400 kbit/s, which no header can say: the frames of another file, with bytes added behind each."""
    content, frames = without_count(mp3(LOW)), []
    while header := read_header(content[:7]):
        frame = bytearray(content[: header.length])
        frame[2] &= 0x0D  # neither a bit rate nor padding
        frames.append(bytes(frame).ljust(1306, b"\0"))
        content = content[header.length :]
    joined = b"".join(frames)
    with Budget(DecodeLimits()) as budget, open_audio(joined, len(joined), budget) as file:
        parts, is_damaged = split(file, identify(file), lambda seconds: False)
    assert parts == [Part(MP3, [(0, len(joined))], 1152 * len(frames), 44_100)]
    assert not is_damaged


@pytest.mark.parametrize("content", [mp3(LOW), adts(LOW)])
def test_counting_ends_where_enough_is_counted(content, monkeypatch):
    monkeypatch.setattr(parts_module, "FRAMES_PER_NOTE", 10)
    asked = []
    whole = decode(content)
    assert decode(content, first_seconds=0.4).duration_seconds == pytest.approx(0.4, abs=1e-3)
    with Budget(DecodeLimits()) as budget, open_audio(content, len(content), budget) as file:
        (part,), is_damaged = split(
            file, identify(file), lambda seconds: bool(asked.append(seconds)) or len(asked) == 3
        )
    assert part.n_samples == 0
    assert part.spans[-1][1] == len(content)
    assert not is_damaged
    assert 0.2 < asked[-1] < 0.8 < whole.duration_seconds


@pytest.mark.parametrize("content", [mp3(LOW), adts(LOW)])
def test_counting_ends_where_too_much_is_counted(content, monkeypatch):
    monkeypatch.setattr(parts_module, "FRAMES_PER_NOTE", 10)
    monkeypatch.setattr(decode_module, "_read", None)
    with pytest.raises(AudioTooLong, match="1 s"):
        decode(content, DecodeLimits(max_seconds=1.0))


def test_counting_ends_between_pages_where_enough_is_counted(monkeypatch):
    monkeypatch.setattr(ogg, "BYTES_PER_NOTE", 1000)
    monkeypatch.setattr(ogg, "MOST_BYTES_PER_SECOND", 1000)
    content = with_soundfile("OGG", "VORBIS", noise(8.0))
    assert decode(content, first_seconds=1.0).duration_seconds == pytest.approx(1.0, abs=1e-3)
    with Budget(DecodeLimits()) as budget, open_audio(content, len(content), budget) as file:
        links = ogg.find_links(file, 0, len(content), lambda seconds: True)
    assert links == ogg.Links([(0, len(content))])


@pytest.mark.parametrize("encode", [vorbis, opus, ogg_flac])
def test_a_recorder_that_was_stopped_marks_no_last_page(encode):
    content = encode(LOW)
    first, second = content[: content.rindex(b"OggS")], encode(HIGH)
    recording = decode(first + second)
    assert not recording.truncated
    assert recording.duration_seconds > SECONDS + 0.5
    assert decode(content[:-10]).truncated


def test_a_link_without_sound_is_no_damage():
    first, second, _ = CHAINS["vorbis"]
    empty = with_soundfile("OGG", "VORBIS", np.zeros((0, 2)))
    recording = decode(first + empty + second)
    assert recording.duration_seconds == pytest.approx(2 * SECONDS, abs=1e-3)
    assert not recording.truncated


@pytest.mark.parametrize("padding", [b"", b"\0"])
def test_a_wav_file_with_an_odd_chunk(padding):
    content = pcm("WAV", LOW)
    place = content.index(b"data")
    odd = b"LIST" + struct.pack("<I", 13) + b"INFOIART" + struct.pack("<I", 1) + b"x" + padding
    recording = decode(content[:place] + odd + content[place:])
    assert recording.duration_seconds == SECONDS
    assert heard(recording, 0.5) == pytest.approx(LOW, abs=2.0)
    assert not recording.truncated


def test_frames_of_latm_between_others_are_skipped():
    """Their headers have no sample rate."""
    frames = ENCODED["mp3"][1]()
    content = frames + ENCODED["latm"][1]() + frames
    recording = decode(content)
    assert recording.duration_seconds == pytest.approx(4.0, abs=0.2)
    assert recording.truncated
