"""Licences of what an install brings: what each wheel declares, and the libraries that it carries as binaries.

A wheel declares the licence of its own code only. So this looks for shared libraries in the wheels, and asks FFmpeg.
`--write docs/licences.md` writes the page; `--sbom FILE` adds the libraries to a CycloneDX document.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import re
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIBRARY = re.compile(
    r"^(?:lib)?(?P<name>[A-Za-z][\w+-]*?)(?:_x86_64|_arm64)?(?:[-_][0-9a-f]{8})*(?:\.\d[\w.]*)?\.(?:so|dylib|dll)(?:[\d.]*)$"
)
EXTENSION = re.compile(r"\.(?:cpython-|abi3\.|pypy)|\.pyd$|^_")
"""A module of the package itself."""

GPL, LGPL = "GPL-2.0-or-later", "LGPL-2.1-or-later"
FFMPEG = "LGPL-3.0-or-later by its own word, linked to x264 and x265"
# From the projects' own licence files.
LICENCES = {
    **dict.fromkeys(("x264", "x265"), GPL),
    **dict.fromkeys(("avcodec", "avdevice", "avfilter", "avformat", "avutil", "swresample", "swscale"), FFMPEG),
    **dict.fromkeys(("asound", "mp3lame", "soxr", "sndfile"), LGPL),
    **dict.fromkeys(("gmp", "hogweed", "nettle", "unistring"), "LGPL-3.0-or-later OR GPL-2.0-or-later"),
    "gnutls": LGPL,
    **dict.fromkeys(("opencore-amrnb", "opencore-amrwb"), "Apache-2.0"),
    **dict.fromkeys(("sharpyuv", "webp", "webpmux", "webpdemux", "vpx", "opus"), "BSD-3-Clause"),
    **dict.fromkeys(("dav1d", "openjp2"), "BSD-2-Clause"),
    "SvtAv1Enc": "BSD-3-Clause-Clear",
    **dict.fromkeys(("drm", "vpl", "xcb", "xcb-shape", "xcb-shm", "xcb-xfixes", "Xau", "lcms2", "harfbuzz"), "MIT"),
    **dict.fromkeys(("gfortran", "quadmath"), "GPL-3.0-or-later WITH GCC-exception-3.1"),
    **dict.fromkeys(("scipy_openblas64_", "scipy_openblas", "openblas64_"), "BSD-3-Clause"),
    **dict.fromkeys(("jpeg", "turbojpeg"), "IJG AND BSD-3-Clause"),
    **dict.fromkeys(("tiff",), "libtiff"),
    **dict.fromkeys(("png16",), "libpng-2.0"),
    "freetype": "FTL OR GPL-2.0-or-later",
    **dict.fromkeys(("brotlicommon", "brotlidec"), "MIT"),
    **dict.fromkeys(("avif", "aom"), "BSD-2-Clause"),
    "lzma": "0BSD",
    "z": "Zlib",
    "zstd": "BSD-3-Clause OR GPL-2.0-only",
    **dict.fromkeys(("onnxruntime", "onnxruntime_providers_shared"), "MIT"),
}


def locked(name: str) -> list[str]:
    """The packages of one file of ``requirements``."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==", (ROOT / f"requirements/{name}.txt").read_text(), re.MULTILINE)
    return sorted(set(found), key=str.lower)  # a package may have another version for another Python


def installed(names: list[str]) -> list[metadata.Distribution]:
    """Those of these packages that this environment has; some are for other systems."""
    found = []
    for name in names:
        try:
            found.append(metadata.distribution(name))
        except metadata.PackageNotFoundError:
            continue
    return found


def declared(package: metadata.Distribution) -> str:
    """The licence that the package declares, in one line."""
    known = package.metadata
    if expression := known.get("License-Expression"):
        return expression
    classifiers = [text.rpartition(" :: ")[2] for text in known.get_all("Classifier", []) if text.startswith("License")]
    text = (known.get("License") or "").strip().partition("\n")[0]
    return ", ".join(classifiers) or text or "not declared"


def carried(package: metadata.Distribution) -> dict[str, str]:
    """The shared libraries in a package that are not its own modules, each with its licence or `unknown`."""
    found = {}
    for file in package.files or ():
        match = LIBRARY.match(file.name)
        if match and not EXTENSION.search(file.name):
            found[match["name"]] = LICENCES.get(match["name"], "unknown")
    return dict(sorted(found.items()))


def ffmpeg_licence() -> str | None:
    """What the FFmpeg in PyAV's wheel says about itself; None without PyAV, or with the FFmpeg of the system."""
    for package in installed(["av"]):
        for file in package.files or ():
            if file.name.startswith("libavcodec"):
                import av  # noqa: F401  it loads the libraries that the next line needs

                library = ctypes.CDLL(str(file.locate()))
                library.avcodec_license.restype = ctypes.c_char_p
                return library.avcodec_license().decode()
    return None


def page() -> str:
    """The page of docs."""
    rows = []
    base, serve = ({package.name for package in installed(locked(name))} for name in ("base", "serve"))
    for package in installed(locked("page")):
        libraries = ", ".join(f"{name} ({licence})" for name, licence in carried(package).items())
        extra = "API" if package.name in base else "codecs" if package.name in serve else "page"
        rows.append(f"| {package.name} {package.version} | {extra} | {declared(package)} | {libraries} |")
    return TEXT.format(rows="\n".join(rows), ffmpeg=ffmpeg_licence())


TEXT = """# Licences of what an install brings

CCMusic is MIT. **A wheel declares only the licence of its own code**, so this table also has the shared libraries that
each wheel carries. `python bench/licences.py --write docs/licences.md` writes it from the installed packages of
`requirements/page.txt` on Linux x86-64.

**PyAV's wheel (`av`) declares BSD-3-Clause, and carries x264 and x265, which are GPL.** Its FFmpeg is linked to both,
although it says of itself "{ffmpeg}". CCMusic only decodes sound with it and never calls x264 or x265,
which encode pictures. But an image or an installer that contains this wheel contains GPL programs. Anybody who hands it
on has the duties of the GPL. Running the service hands on nothing.

**An install without PyAV** is the API and the command line without the extra `codecs`: `pip install ccmusic`,
`requirements/base.txt`, or the image with `--build-arg FACE=base`. It reads WAV, FLAC, OGG, Opus, MP3, AIFF and what
else libsndfile knows. M4A, AAC, WMA, WebM and others are refused with `unsupported-media`, and the text names the
extra. The page needs the extra, because browsers record WebM. PyAV can also be built against an FFmpeg of your own
without x264 and x265 (`pip install --no-binary av av`, with `PKG_CONFIG_PATH` at your FFmpeg; not tried here).

libsndfile and soxr (in the wheels of `soundfile` and `soxr`) are LGPL.

**mutagen, the extra `tags`, is GPL-2.0-or-later.** `ccmusic tag` uses it, and `ccmusic batch report` reads
tags with it if it is there. Nothing but the extras `tags` and `test` installs it. The extra `batch` installs pyarrow
(Apache-2.0; its wheel carries Arrow's own libraries) and watchfiles (MIT). Neither `tags` nor `batch` is in the table
below.

| package | for | declared licence | libraries in the wheel (licence) |
|---|---|---|---|
{rows}
"""


def add_to(document: Path) -> None:
    """Add the libraries in the wheels to a CycloneDX document, as parts of their package."""
    content = json.loads(document.read_text())
    for component in content.get("components", ()):
        for package in installed([component["name"]]):
            parts = [
                {
                    "type": "library",
                    "name": name,
                    "bom-ref": f"{component['name']}/{name}",
                    "licenses": [named(licence)],
                }
                for name, licence in carried(package).items()
            ]
            if parts:
                component["components"] = parts
    document.write_text(json.dumps(content, indent=2) + "\n")


def named(licence: str) -> dict[str, dict[str, str]]:
    """A licence as CycloneDX writes it: by name, because some are more than one identifier."""
    return {"license": {"name": licence}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, metavar="PAGE")
    parser.add_argument("--sbom", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.sbom is not None:
        add_to(options.sbom)
    if options.write is not None:
        options.write.write_text(page(), encoding="utf-8")
    elif options.sbom is None:
        print(page())
    unknown = [
        name for package in installed(locked("page")) for name, text in carried(package).items() if text == "unknown"
    ]
    if unknown:
        print(f"libraries whose licence is not in the table: {', '.join(unknown)}", file=sys.stderr)
    return bool(unknown)


if __name__ == "__main__":
    sys.exit(main())
