"""Packages that only an extra installs: what is said where one is missing, and the one place that imports pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ccmusic.errors import InvalidParameter


@contextmanager
def of_extra(extra: str, package: str, name: str, what: str = "", instead: str = "") -> Iterator[None]:
    """Name the extra if an import in the ``with`` block fails.

    Parameters
    ----------
    extra, package : str
    name : str
        The argument that needs the package.
    what : str
        The value of the argument that needs it, if not all do.
    instead : str
        What needs no package.

    Raises
    ------
    InvalidParameter
        The package cannot be imported. What was requested is not possible here; the model is not the cause.
    """
    try:
        yield
    except ImportError as error:
        raise InvalidParameter(
            name,
            f"{what} needs the package {package}, which cannot be imported ({error}): install the extra with "
            f"pip install 'ccmusic[{extra}]'{instead and f', or {instead}'}".strip(),
        ) from error


def require_pyarrow(name: str, what: str, instead: str) -> tuple[Any, Any]:
    """The packages pyarrow and pyarrow.parquet; the arguments are those of `of_extra`.

    Raises
    ------
    InvalidParameter
    """
    with of_extra("batch", "pyarrow", name, what, instead):
        # imported late: optional, and slow to import
        import pyarrow
        import pyarrow.parquet
    return pyarrow, pyarrow.parquet
