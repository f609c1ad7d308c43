"""The report as one HTML file: its data, texts, style and script are in it, and its policy forbids every request."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote

from ccmusic.appearance import LOGO, colours
from ccmusic.batch.certainty import ANSWERED
from ccmusic.batch.exports import answer_of
from ccmusic.batch.plan_format import KEEP, PLAN_VERSION, WRITE
from ccmusic.batch.report.findings import Findings, Seen, shown, taxonomy_of_answer
from ccmusic.batch.report.review import KINDS, MOST_OF_A_KIND, GenresOfFile, ReviewQueue, WrittenGenres
from ccmusic.batch.report.track_map import MOST_POINTS, LibraryMap, MapMaker
from ccmusic.genres import CCMUSIC, Taxonomy
from ccmusic.version import __version__

if TYPE_CHECKING:
    from ccmusic.batch.catalogue import Catalogue
    from ccmusic.batch.track_row import TrackRow

SCRIPTS = ("elements.js", "charts.js", "map.js", "failures.js", "queue.js", "page.js")
"""In this order they are one script."""

LANGUAGES = ("en", "zh")

POLICY = (
    "default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)

MOST_NAME = 90
"""Characters of a track's name on the map."""


def write_report(
    catalogue: Catalogue,
    out: BinaryIO,
    genres_of_file: GenresOfFile | None = None,
    vocabulary: WrittenGenres | None = None,
    made_at: datetime | None = None,
    follow: Callable[[Iterable[TrackRow]], Iterable[TrackRow]] = iter,
) -> dict[str, Any]:
    """Write the report of a library.

    Memory does not grow with the library beyond `MOST_POINTS` and `MOST_OF_A_KIND`.

    Parameters
    ----------
    catalogue : Catalogue
    out : BinaryIO
    genres_of_file : callable, optional
        Reads the genres of a file, so that the queue can compare.
    vocabulary : mapping of str to sequence of str, optional
        What is written into files for each label; by default the English names.
    made_at : datetime, optional
        By default now.
    follow : callable, optional
        Wraps the tracks, to show progress.

    Returns
    -------
    dict
        The data of the page.
    """
    library = collect(catalogue, genres_of_file, vocabulary, follow)
    library["made"] = (made_at or datetime.now(UTC)).isoformat(timespec="minutes")
    library["program"] = f"ccmusic {__version__}"
    out.write(page(library).encode())
    return library


def page(library: dict[str, Any]) -> str:
    """The HTML of the data that `collect` returns."""
    folder = files("ccmusic.batch.report")
    style = (folder / "page.css").read_text(encoding="utf-8")
    script = '"use strict";\n(() => {\n' + "\n".join((folder / name).read_text("utf-8") for name in SCRIPTS) + "})();\n"
    texts = {language: json.loads((folder / f"texts.{language}.json").read_text("utf-8")) for language in LANGUAGES}
    policy = POLICY.format(script=_sha256(script), style=_sha256(style))
    icon = quote(LOGO.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" '))
    missing = "".join(f'<p lang="{name}">{escape(texts[name]["noscript"])}</p>' for name in LANGUAGES)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>CCMusic</title>
<link rel="icon" href="data:image/svg+xml,{icon}">
<style>{style}</style>
</head>
<body>
<div id="logo">{LOGO}</div>
<div id="app"></div>
<noscript>{missing}</noscript>
<script type="application/json" id="library">{in_script(library)}</script>
<script type="application/json" id="texts">{in_script(texts)}</script>
<script>{script}</script>
</body>
</html>
"""


def in_script(value: Any) -> str:
    """JSON that may stand in a script element: nothing in it ends the element or begins a comment, and all is ASCII."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def collect(
    catalogue: Catalogue,
    genres_of_file: GenresOfFile | None = None,
    vocabulary: WrittenGenres | None = None,
    follow: Callable[[Iterable[TrackRow]], Iterable[TrackRow]] = iter,
) -> dict[str, Any]:
    """Read the catalogue once, and return what the page shows."""
    first = _first_answer(catalogue)
    taxonomy = CCMUSIC if first is None else taxonomy_of_answer(first)
    counts = catalogue.counts()
    findings, queue = Findings(taxonomy), ReviewQueue(genres_of_file, vocabulary)
    maker = MapMaker(sum(counts[status] for status in ANSWERED), taxonomy)
    on_map: dict[int, tuple[str, Seen]] = {}
    for track in follow(catalogue.tracks()):
        answer = answer_of(track)
        seen = findings.add(track, answer)
        if seen is None:
            continue
        queue.add(track, answer)
        if maker.add(track, answer):
            on_map[track.id] = (shown(track.file.name)[:MOST_NAME], seen)
    return {
        "model": first and first["model"],
        "taxonomy": _taxonomy(taxonomy, vocabulary or {}),
        "counts": {
            **findings.statuses,
            "total": findings.statuses.total(),
            "answered": findings.n_sure + findings.n_unsure,
            "sure": findings.n_sure,
            "unsure": findings.n_unsure,
            "odd": findings.odd.total(),
            "same": findings.n_same,
            "other": findings.n_other,
        },
        "seconds": round(findings.seconds),
        "levels": [
            {
                "sure": level.sure,
                "unsure": level.unsure,
                "seconds": [round(seconds) for seconds in level.seconds],
                "sureBins": level.sure_bins,
                "unsureBins": level.unsure_bins,
            }
            for level in findings.levels
        ],
        "odd": findings.odd.most_common(),
        "flags": findings.flags.most_common(),
        "failures": [
            {"reason": reason, "count": count, "examples": findings.examples[reason]}
            for reason, count in findings.reasons.most_common()
        ],
        "map": _map(maker.finish(), on_map),
        "queue": {
            "read": genres_of_file is not None,
            "counts": {kind: queue.counts[kind] for kind in KINDS},
            "most": MOST_OF_A_KIND,
            "rows": queue.rows(),
            "plan": {"version": PLAN_VERSION, "write": WRITE, "keep": KEEP},
        },
    }


def _first_answer(catalogue: Catalogue) -> dict[str, Any] | None:
    for status in ANSWERED:
        for track in islice(catalogue.tracks(status), 1):
            return answer_of(track)
    return None


def _taxonomy(taxonomy: Taxonomy, vocabulary: WrittenGenres) -> list[dict[str, Any]]:
    return [
        {
            "size": size,
            "genres": [
                {
                    "id": genre.label,
                    "en": genre.label_en,
                    "zh": genre.label_zh,
                    "colour": colours(taxonomy, size)[genre.label],
                    "written": list(vocabulary.get(genre.label, (genre.label_en,))),
                }
                for genre in taxonomy.genres(size)
            ],
        }
        for size in taxonomy.sizes
    ]


def _map(found: LibraryMap | None, on_map: dict[int, tuple[str, Seen]]) -> dict[str, Any] | None:
    if found is None:
        return None
    tracks = [on_map[int(number)] for number in found.ids]
    return {
        "method": found.method,
        "values": found.n_values,
        "shares": [round(share, 4) for share in found.shares],
        "most": MOST_POINTS,
        "leftOut": found.n_left_out,
        "x": found.points[:, 0].tolist(),
        "y": found.points[:, 1].tolist(),
        "groups": [list(groups) for groups in zip(*(seen.groups for _, seen in tracks), strict=True)],
        "sure": [seen.sure_level for _, seen in tracks],
        "names": [name for name, _ in tracks],
    }
