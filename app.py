"""``python app.py``: the page and the API on port 7860; the same as ``ccmusic serve``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from ccmusic.cli import main

if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))
