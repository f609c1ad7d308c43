"""The variables that Kubernetes sets in a pod for each Service of its namespace (service links).

A Service named ``ccmusic`` gives ``CCMUSIC_PORT=tcp://10.0.0.1:7860``, and one named ``ccmusic-management`` gives
``CCMUSIC_MANAGEMENT_PORT``: the names of our settings, with another meaning.

References
----------
https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

_NAME = re.compile(r"_SERVICE_(HOST|PORT)(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?$")
_PORT_NAME = re.compile(r"_PORT$", re.IGNORECASE)
_PORT_VALUE = re.compile(r"(tcp|udp|sctp)://")

Value = TypeVar("Value", bound="str | None")


def is_service_link(name: str, value: str) -> bool:
    """Whether Kubernetes set this variable for a Service."""
    return _NAME.search(name) is not None or _is_address(name, value)


def without_service_links(variables: Mapping[str, Value]) -> dict[str, Value]:
    """The variables but those that name a port setting and hold the address of a Service."""
    return {name: value for name, value in variables.items() if value is None or not _is_address(name, value)}


def _is_address(name: str, value: str) -> bool:
    return _PORT_NAME.search(name) is not None and _PORT_VALUE.match(value) is not None
