"""Which tracks of a file are heard: the default one first, and never a commentary if there is another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ccmusic.audio.formats import ACCEPTED
from ccmusic.audio.protection import PROTECTED
from ccmusic.errors import UnsupportedMedia

if TYPE_CHECKING:
    import av

# fmt: off
CODECS = frozenset({
    "aac", "aac_latm", "ac3", "alac", "amrnb", "amrwb", "ape", "dca", "dsd_lsbf", "dsd_lsbf_planar", "dsd_msbf",
    "dsd_msbf_planar", "eac3", "flac", "mlp", "mp1float", "mp2", "mp2float", "mp3float", "mpc7", "mpc8", "nellymoser",
    "opus", "speex", "truehd", "tta", "vorbis", "wavpack", "wmalossless", "wmapro", "wmav1", "wmav2", "wmavoice",
    "adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms", "adpcm_swf", "adpcm_yamaha", "g722", "gsm", "gsm_ms", "pcm_alaw",
    "pcm_bluray", "pcm_dvd", "pcm_f32be", "pcm_f32le", "pcm_f64be", "pcm_f64le", "pcm_mulaw", "pcm_s16be",
    "pcm_s16le", "pcm_s24be", "pcm_s24le", "pcm_s32be", "pcm_s32le", "pcm_s8", "pcm_u8", "s302m",
})
# fmt: on
"""FFmpeg's decoders that may run, by its names: of music, in the containers that are accepted. It has over 500, and
tries those of pictures and video too, to find out what they are."""
DEFAULT = 1
COMMENT, HEARING_IMPAIRED, VISUAL_IMPAIRED, DESCRIPTIONS = 8, 128, 256, 2**17
BESIDE_THE_SOUND = COMMENT | HEARING_IMPAIRED | VISUAL_IMPAIRED | DESCRIPTIONS
"""FFmpeg's flags of tracks that speak about the sound: of a director, or for those who hear or see little."""
ENCRYPTION_KEY = "enc_key_id"
"""FFmpeg's tag of a track of Matroska that is encrypted."""


def ordered_tracks(media: av.container.InputContainer, protected: frozenset[int]) -> list[av.AudioStream]:
    """The tracks of sound that can be decoded, in the order in which they are tried.

    Parameters
    ----------
    media : av.container.InputContainer
    protected : frozenset of int
        Identities of the tracks that are encrypted.

    Raises
    ------
    UnsupportedMedia
        There is none. The text says why.
    """
    if not media.streams.audio:
        raise UnsupportedMedia(f"This file has no audio; {ACCEPTED}.")
    open_ones = [
        stream for stream in media.streams.audio if stream.id not in protected and ENCRYPTION_KEY not in stream.metadata
    ]
    if not open_ones:
        raise UnsupportedMedia(PROTECTED)
    decodable = [stream for stream in open_ones if _decoder(stream) in CODECS]
    if not decodable:
        named = next((f" ({name})" for stream in open_ones if (name := _decoder(stream))), "")
        raise UnsupportedMedia(f"The codec in this file{named} is not supported; convert the recording to FLAC or MP3.")
    main = [stream for stream in decodable if not stream.disposition.value & BESIDE_THE_SOUND]
    return sorted(main or decodable, key=lambda stream: not stream.disposition.value & DEFAULT)


def _decoder(stream: av.AudioStream) -> str:
    """FFmpeg's name of the decoder; empty if it has none."""
    return stream.codec_context.name if stream.codec_context else ""
