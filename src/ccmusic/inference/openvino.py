"""Runs a network with OpenVINO on the CPU: for bfloat16, and where OpenVINO is faster than ONNX Runtime.

OpenVINO is an optional extra. It is imported only when a card requires it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ccmusic.errors import DependencyUnavailable, ModelRefused, of_extra
from ccmusic.inference.backend import OUTPUT_NAME, checked, require_interface
from ccmusic.models.card_parts import Precision

HINTS: dict[Precision, str] = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
"""OpenVINO's precision hints. An 8-bit network has its integers in the file; the hint applies to the rest."""

BFLOAT16_FLAGS = frozenset({"amx_bf16", "avx512_bf16", "avx_ne_convert", "bf16"})
"""CPU flags in Linux: x86 with tiles, x86 with wide vectors, x86 with narrow vectors, Arm."""


class OpenVinoBackend:
    """A network in OpenVINO on the CPU; a `Backend`.

    Parameters
    ----------
    model : bytes
        An ONNX file with one input [shape=(batch, ...), dtype=float32] and an output ``logits``
        [shape=(batch, n_labels)]. Bytes instead of a path, so that exactly the hashed bytes run.
    n_labels : int
        Number of the card's labels.
    threads : int
        Threads within one operation.
    precision : str
        ``float32``; ``bfloat16``, for a float32 file on a CPU that supports it; ``int8``, for a file from
        `ccmusic.checkpoints.quantize`.
    input_name : str
        Required name of the network's input.
    heads : mapping of str to int
        Further outputs: name and number of labels.

    Raises
    ------
    DependencyUnavailable
        OpenVINO is not installed, or this CPU has no bfloat16.
    ModelRefused
        Not an ONNX model, or another input or output.
    """

    def __init__(
        self,
        model: bytes,
        n_labels: int,
        threads: int = 1,
        precision: Precision = "float32",
        input_name: str = "picture",
        heads: Mapping[str, int] | None = None,
    ) -> None:
        openvino = _import_openvino(precision)
        self.name = f"openvino-cpu-{precision}"
        core = openvino.Core()
        if precision == "bfloat16":
            _require_bfloat16(core)
        try:
            network = core.read_model(model)
        except Exception as error:  # OpenVINO raises one exception class of its own
            raise ModelRefused(f"OpenVINO cannot read the network: {_last_line(error)}") from error
        self._widths = {OUTPUT_NAME: n_labels, **(heads or {})}
        inputs = sorted(name for node in network.inputs for name in node.names)
        outputs = {name: _width(node) for node in network.outputs for name in node.names}
        require_interface(inputs, outputs, input_name, self._widths)
        properties = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            # with pinning, all workers of a machine would run on its first CPUs
            "ENABLE_CPU_PINNING": False,
            "CACHE_DIR": "",
        }
        try:
            compiled = core.compile_model(network, "CPU", properties)
        except Exception as error:
            raise ModelRefused(f"OpenVINO cannot run the network: {_last_line(error)}") from error
        self._request = compiled.create_infer_request()
        self._input_name = input_name

    def logits(self, windows: np.ndarray) -> np.ndarray:
        """`Backend.logits`."""
        return self.all_logits(windows)[0]

    def all_logits(self, windows: np.ndarray) -> tuple[np.ndarray, ...]:
        """`Backend.all_logits`."""
        answers = self._request.infer({self._input_name: windows})
        return tuple(checked(answers[name], len(windows), n_labels) for name, n_labels in self._widths.items())


def has_bfloat16(cpuinfo: str) -> bool:
    """Whether a CPU has bfloat16 instructions.

    Parameters
    ----------
    cpuinfo : str
        Content of ``/proc/cpuinfo``.

    Returns
    -------
    bool
    """
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return not BFLOAT16_FLAGS.isdisjoint(value.split())
    return False


def _require_bfloat16(core: Any) -> None:
    # OpenVINO also lists BF16 for AVX-512 CPUs on which it emulates it, slower than float32
    known = Path("/proc/cpuinfo")
    offered = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if not offered or (known.exists() and not has_bfloat16(known.read_text(encoding="utf-8"))):
        raise DependencyUnavailable(
            "this processor has no bfloat16 arithmetic (avx512_bf16, amx_bf16 or avx_ne_convert in /proc/cpuinfo): "
            "choose the precision int8 or float32"
        )


def _import_openvino(precision: Precision) -> Any:
    # OpenVINO's package imports its converter, which reports every import to its makers and stores an identifier in
    # the home directory. We do not need the converter; without it the import is also faster and smaller.
    converter = "openvino.tools.ovc"
    blocked = converter not in sys.modules
    if blocked:
        sys.modules[converter] = None  # type: ignore[assignment]
    need = f"the precision {precision} needs OpenVINO"
    try:
        with of_extra("openvino", need, "choose ONNX Runtime", DependencyUnavailable):
            return importlib.import_module("openvino")
    finally:
        if blocked:
            del sys.modules[converter]


def _width(node: Any) -> int | None:
    width = node.partial_shape[-1]
    return int(width.get_length()) if width.is_static else None


def _last_line(error: Exception) -> str:
    """The last line of OpenVINO's message names the cause; the lines before are positions in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
