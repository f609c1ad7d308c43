"""The one place that imports pyarrow, which only the extra `batch` installs."""

from __future__ import annotations

from typing import Any

from ccmusic.errors import of_extra


def require_pyarrow(need: str, instead: str) -> tuple[Any, Any]:
    """The packages pyarrow and pyarrow.parquet.

    Parameters
    ----------
    need : str
        What needs them.
    instead : str
        What does without them.

    Raises
    ------
    PackageMissing
    """
    with of_extra("batch", f"{need} needs the package pyarrow", instead):
        # imported late: optional, and slow to import
        import pyarrow
        import pyarrow.parquet
    return pyarrow, pyarrow.parquet
