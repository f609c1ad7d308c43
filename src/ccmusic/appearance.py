"""What the page and the report of a library have in common to the eye: the logo, and one colour for each genre."""

from __future__ import annotations

from ccmusic.genres import CCMUSIC, Taxonomy

LOGO = (
    '<svg class="cc-logo" viewBox="0 0 48 48" aria-hidden="true"><defs>'
    '<linearGradient id="cc-g" x1="0" y1="1" x2="1" y2="0"><stop offset="0" stop-color="#3b0f70"/>'
    '<stop offset=".5" stop-color="#b73779"/><stop offset="1" stop-color="#fe9f6d"/></linearGradient></defs>'
    '<rect width="48" height="48" rx="12" fill="url(#cc-g)"/><g fill="#fff">'
    '<rect x="9" y="21" width="4" height="10" rx="2"/><rect x="16" y="14" width="4" height="22" rx="2"/>'
    '<rect x="23" y="9" width="4" height="30" rx="2"/><rect x="30" y="16" width="4" height="17" rx="2"/>'
    '<rect x="37" y="20" width="4" height="9" rx="2"/></g></svg>'
)
"""Also the favicon: a level meter in the colours of the spectrogram."""

GENRE_COLOURS: dict[str, str] = {
    "Symphony": "#4f5bd5",
    "Opera": "#c0392b",
    "Solo": "#16a085",
    "Chamber": "#8e44ad",
    "Pop_vocal_ballad": "#e84393",
    "Adult_contemporary": "#f06ba8",
    "Teen_pop": "#ff8fc0",
    "Contemporary_dance_pop": "#e67e22",
    "Dance_pop": "#f0a04b",
    "Classic_indie_pop": "#6ab04c",
    "Chamber_cabaret_and_art_pop": "#a3b93b",
    "Soul_or_RnB": "#8d6e63",
    "Adult_alternative_rock": "#2c82c9",
    "Uplifting_anthemic_rock": "#4aa3df",
    "Soft_rock": "#22a6b3",
    "Acoustic_pop": "#5d7f99",
    "Pop": "#e84393",
    "Dance_and_house": "#e67e22",
    "Indie": "#6ab04c",
    "Rock": "#2c82c9",
    "Classic": "#6c5ce7",
    "Non_classic": "#e17055",
}
"""One colour per ccMusic genre and group. The genres of a group have shades of one hue."""

_GOLDEN_ANGLE = 137.508
"""In degrees. Hues at steps of this angle never repeat."""


def colours(taxonomy: Taxonomy, level: int | None = None) -> dict[str, str]:
    """One CSS colour per genre of a level. Taxonomies other than ccMusic get hues spread over the colour wheel."""
    labels = [genre.label for genre in taxonomy.genres(level)]
    if taxonomy == CCMUSIC:
        return {label: GENRE_COLOURS[label] for label in labels}
    lightness = (46, 58, 38)
    return {
        label: f"hsl({(250 + i * _GOLDEN_ANGLE) % 360:.0f} 55% {lightness[i // 12 % 3]}%)"
        for i, label in enumerate(labels)
    }
