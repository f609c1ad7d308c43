"""Tensors of the Open Inference Protocol v2: JSON, and Triton's binary tensor extension.

A binary body starts with the JSON of the request or response; the header ``Inference-Header-Content-Length`` gives its
length. The bytes of the binary tensors follow. Each element of a BYTES tensor is its length (4 bytes, little endian)
and then its bytes.

JSON cannot hold bytes, so in JSON the recording is a base64 string: ``"data": ["UklGRi..."]``.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ccmusic.errors import InvalidParameter
from ccmusic.genres import Taxonomy
from ccmusic.inference.result import Prediction, TrackResult
from ccmusic.serving.bounded_json import parse_json

INPUT = "audio"
TOP = 5
HEADER_LENGTH = "Inference-Header-Content-Length"
MAX_JSON_BYTES = 16 * 2**20
"""Parsing JSON blocks the whole process, probes included; larger recordings must be sent as binary tensors."""
JSON_TOO_LARGE = (
    f"the JSON of a request is limited to {MAX_JSON_BYTES} bytes; send a larger recording as a binary tensor"
)
MAX_ID = 256
"""Most characters of a request's id, which the response repeats."""
SHOWN = 100
"""Most characters of a client's value in the text of an error."""

LENGTH = struct.Struct("<I")
_SHARED_MEMORY = "shared_memory_region"


@dataclass(frozen=True, slots=True)
class Output:
    """One tensor of the response: its description, and how to compute it from a result.

    Attributes
    ----------
    values : callable
        Returns an array [shape=(n,), dtype=float32], or a list of n strings.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Callable[[TrackResult], np.ndarray | list[str]]

    def described(self) -> dict[str, Any]:
        """The description of the tensor, without data."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


@dataclass(frozen=True, slots=True)
class BinaryPart:
    """What follows the JSON of a request.

    Attributes
    ----------
    size : int
        In bytes.
    element_size : int or None
        The length that its first 4 bytes give; None if there are fewer.
    """

    size: int
    element_size: int | None


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A parsed request for inference.

    Attributes
    ----------
    id : str or None
        Repeated in the response.
    recording : bytes or None
        Encoded; None if it follows the JSON.
    outputs : tuple of (Output, bool)
        The requested tensors, and whether each is sent as binary data.
    """

    id: str | None
    recording: bytes | None
    outputs: tuple[tuple[Output, bool], ...]


def outputs_of(taxonomies: Sequence[Taxonomy]) -> dict[str, Output]:
    """Every output tensor of a model, by name.

    Parameters
    ----------
    taxonomies : sequence of Taxonomy
        Of the model. The tensors of the first have plain names; those of another have its name as a prefix.
    """
    outputs = (
        output
        for i, taxonomy in enumerate(taxonomies)
        for output in _tensors(taxonomy, f"{taxonomy.name}_" if i else "")
    )
    return {output.name: output for output in outputs}


def _tensors(taxonomy: Taxonomy, prefix: str) -> tuple[Output, ...]:
    n, top = len(taxonomy.labels), min(TOP, len(taxonomy.labels))

    def likeliest(result: TrackResult) -> tuple[Prediction, ...]:
        return result.under(taxonomy.name).predictions(None, top)

    def probabilities(result: TrackResult) -> np.ndarray:
        return np.asarray(result.under(taxonomy.name).leaves, "<f4")

    return (
        Output(f"{prefix}probabilities", "FP32", (1, n), probabilities),
        Output(f"{prefix}labels", "BYTES", (1, n), lambda _: list(taxonomy.labels)),
        Output(f"{prefix}top_labels", "BYTES", (1, top), lambda r: [p.genre for p in likeliest(r)]),
        Output(
            f"{prefix}top_probabilities",
            "FP32",
            (1, top),
            lambda r: np.array([p.probability for p in likeliest(r)], "<f4"),
        ),
    )


def parse_request(
    text: bytes, binary: BinaryPart | None, offered: Mapping[str, Output], max_values: int, max_depth: int
) -> InferRequest:
    """Parse a request for inference.

    Parameters
    ----------
    text : bytes
        Its JSON.
    binary : BinaryPart or None
        What follows the JSON; None if the whole body is JSON.
    offered : mapping of str to Output
        The outputs that may be requested.
    max_values, max_depth : int
        See `parse_json`.

    Returns
    -------
    InferRequest

    Raises
    ------
    InvalidParameter
        The text states what is wrong.
    """
    request = parse_json(text, max_values, max_depth)
    if not isinstance(request, dict):
        raise InvalidParameter("request", "must be a JSON object")
    request_id = request.get("id")
    if request_id is not None and not (isinstance(request_id, str) and len(request_id) <= MAX_ID):
        raise InvalidParameter("id", f"must be a string of at most {MAX_ID} characters")
    return InferRequest(request_id, _recording(request, binary), tuple(_outputs(request, offered)))


def _recording(request: dict[str, Any], binary: BinaryPart | None) -> bytes | None:
    inputs = _list_of_tensors(request, "inputs")
    if [tensor["name"] for tensor in inputs] != [INPUT]:
        raise InvalidParameter("inputs", f"must be exactly one tensor named {INPUT!r}")
    tensor = inputs[0]
    if tensor.get("datatype") != "BYTES":
        raise InvalidParameter(INPUT, f"must have the datatype BYTES, not {shown(tensor.get('datatype'))}")
    if tensor.get("shape") != [1]:
        raise InvalidParameter(INPUT, f"must have the shape [1], one recording, not {shown(tensor.get('shape'))}")
    parameters = _parameters(tensor)
    if _SHARED_MEMORY in parameters:
        raise InvalidParameter(INPUT, "cannot be read from shared memory: this server does not support it")
    size = parameters.get("binary_data_size")
    if size is None:
        return _from_json(tensor.get("data"))
    n_binary = 0 if binary is None else binary.size
    if size != n_binary:
        raise InvalidParameter(INPUT, f"has binary_data_size {shown(size)}, but {n_binary} bytes follow the JSON")
    if binary is None or binary.element_size != n_binary - LENGTH.size:
        raise InvalidParameter(INPUT, "must be one BYTES element: its length in 4 bytes, little endian, then its bytes")
    return None


def shown(value: object) -> str:
    """A client's value, short enough for an answer."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _from_json(data: object) -> bytes:
    if not isinstance(data, list) or len(data) != 1 or not isinstance(data[0], str):
        raise InvalidParameter(INPUT, 'must have one base64 string as its data, for example "data": ["UklGRi..."]')
    try:
        return base64.b64decode(data[0], validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidParameter(INPUT, f"is not valid base64, which JSON requests must use: {error}") from error


def _outputs(request: dict[str, Any], offered: Mapping[str, Output]) -> Iterator[tuple[Output, bool]]:
    default = _parameters(request).get("binary_data_output", False)
    # a request without outputs gets all of them
    requested = _list_of_tensors(request, "outputs") if request.get("outputs") else [{"name": name} for name in offered]
    if len(requested) > len({tensor["name"] for tensor in requested}):
        raise InvalidParameter("outputs", "must not name an output twice")
    for tensor in requested:
        name = tensor["name"]
        parameters = _parameters(tensor)
        if name not in offered:
            raise InvalidParameter("outputs", f"must be some of {', '.join(offered)}, not {shown(name)}")
        if parameters.get("classification"):
            raise InvalidParameter("outputs", "do not support classification: request top_labels and top_probabilities")
        if _SHARED_MEMORY in parameters:
            raise InvalidParameter("outputs", "cannot be written to shared memory: this server does not support it")
        yield offered[name], parameters.get("binary_data", default) is True


def _list_of_tensors(request: dict[str, Any], field: str) -> list[dict[str, Any]]:
    tensors = request.get(field)
    if not isinstance(tensors, list) or not all(
        isinstance(tensor, dict) and isinstance(tensor.get("name"), str) for tensor in tensors
    ):
        raise InvalidParameter(field, "must be a list of tensors, each with a name")
    return tensors


def _parameters(holder: dict[str, Any]) -> dict[str, Any]:
    parameters = holder.get("parameters", {})
    if not isinstance(parameters, dict):
        raise InvalidParameter("parameters", "must be an object")
    return parameters


def answer_body(result: TrackResult, request: InferRequest) -> tuple[bytes, int | None]:
    """Write the body of the response.

    Parameters
    ----------
    result : TrackResult
    request : InferRequest
        States which tensors to write, and in which form.

    Returns
    -------
    body : bytes
    header_length : int or None
        Length of the JSON if binary tensors follow; None if there are none.
    """
    described, binary = [], []
    for output, as_binary in request.outputs:
        values = output.values(result)
        tensor = output.described()
        if as_binary:
            binary.append(_packed(values))
            tensor["parameters"] = {"binary_data_size": len(binary[-1])}
        else:
            tensor["data"] = values if isinstance(values, list) else values.tolist()
        described.append(tensor)
    answer: dict[str, Any] = {
        "model_name": result.model.name,
        "model_version": result.model.version,
        "outputs": described,
    }
    if request.id is not None:
        answer["id"] = request.id
    text = json.dumps(answer, allow_nan=False).encode()
    return b"".join([text, *binary]), len(text) if binary else None


def _packed(values: np.ndarray | list[str]) -> bytes:
    if not isinstance(values, list):
        return values.tobytes()
    return b"".join(LENGTH.pack(len(text)) + text for text in (value.encode() for value in values))
