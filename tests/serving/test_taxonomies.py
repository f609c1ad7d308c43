"""Models with two taxonomies or with their own labels: HTTP API, inference protocol, metrics."""

import base64
import re

import httpx
import pytest

from ccmusic.genres import LABELS, WORLD
from ccmusic.serving.schemas import Classification, Genres, Models
from support.bands_model import write_own_model, write_world_model
from support.recordings import bin_frequency, tone, wav
from support.running_server import running_server
from support.waiting import PATIENCE_SECONDS

BAND = 1
RECORDING = wav(tone(bin_frequency(5 * BAND + 2), 4.0))
OWN_LABELS = ("Sea", "Wind & rain", "雷")


def served(directory):
    with running_server("--no-page", CCMUSIC_MODEL=str(directory), CCMUSIC_WORKERS="1") as running:
        running.wait_healthy()
        with httpx.Client(base_url=running.url, timeout=PATIENCE_SECONDS) as client:
            yield client


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    yield from served(write_world_model(tmp_path_factory.mktemp("models") / "world"))


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    yield from served(write_own_model(tmp_path_factory.mktemp("models") / "own", OWN_LABELS))


def classify(client: httpx.Client, **params: str) -> httpx.Response:
    return client.post("/v1/classify", params=params, content=RECORDING, headers={"content-type": "audio/wav"})


def refused(response: httpx.Response) -> str:
    body = response.json()
    assert (response.status_code, body["type"].rpartition("/")[2].rpartition(":")[2]) == (422, "invalid-parameter")
    return f"{body['parameter']}: {body['detail']}"


def test_the_answer_is_in_the_requested_taxonomy(world):
    default = Classification.model_validate(classify(world).json())
    assert (default.taxonomy, default.level, list(default.levels)) == ("ccmusic", 16, ["16", "9", "2"])
    assert default.predictions[0].genre == LABELS[BAND]
    same = Classification.model_validate(classify(world, taxonomy="ccmusic", level="9").json())
    assert (same.level, len(same.levels["9"])) == (9, 9)
    other = Classification.model_validate(classify(world, taxonomy="world", level="16").json())
    assert (other.taxonomy, list(other.levels)) == ("world", ["16"])
    assert other.predictions[0].genre == other.windows[0].predictions[0].genre == WORLD.labels[15 - BAND]


def test_the_error_for_an_unknown_taxonomy_or_level_lists_the_valid_ones(world, own):
    assert refused(classify(world, taxonomy="jazz")).endswith("must be one of ccmusic, world, not 'jazz'")
    assert refused(classify(world, taxonomy="world", level="2")).endswith("must be 16, not 2")
    assert refused(classify(own, taxonomy="ccmusic")).endswith("must be own, not 'ccmusic'")
    assert refused(classify(own, level="16")).endswith("must be 3, not 16")


def test_a_refused_request_does_not_reach_a_worker(world):
    def classifications() -> str:
        return re.search(r"^ccmusic_classifications_total (.*)$", world.get("/metrics").text, re.MULTILINE)[1]

    before = classifications()
    for params in ({"taxonomy": "jazz"}, {"taxonomy": "world", "level": "2"}, {"level": "5"}):
        refused(classify(world, **params))
    assert classifications() == before


def test_genres_lists_every_taxonomy_of_the_model(world):
    default = Genres.model_validate(world.get("/v1/genres").json())
    assert (default.taxonomy, [genre.genre for genre in default.level16]) == ("ccmusic", list(LABELS))
    assert (default.level16[15].level9, default.level16[15].level2) == ("Rock", "Non_classic")
    assert [len(default.level9), len(default.level2)] == [9, 2]
    other = world.get("/v1/genres", params={"taxonomy": "world"}).json()
    assert [genre["genre"] for genre in other["level16"]] == list(WORLD.labels)
    assert other["level16"][0] == {"genre": "Blues", "label_zh": "蓝调", "label_en": "Blues"}
    assert refused(world.get("/v1/genres", params={"taxonomy": "own"})).startswith("taxonomy")


def test_models_lists_the_taxonomies_of_each_model(world, own):
    def offered(client):
        [model] = Models.model_validate(client.get("/v1/models").json()).models
        return [(taxonomy.name, taxonomy.levels) for taxonomy in model.taxonomies]

    assert offered(world) == [("ccmusic", [16, 9, 2]), ("world", [16])]
    assert offered(own) == [("own", [3])]


def test_own_labels_are_used_by_the_api_and_the_metrics(own):
    answer = Classification.model_validate(classify(own).json())
    assert (answer.taxonomy, answer.level, list(answer.levels)) == ("own", 3, ["3"])
    assert next(p.genre for p in answer.predictions) == OWN_LABELS[BAND]
    assert len(answer.predictions) == 3
    genres = own.get("/v1/genres").json()
    assert [genre["genre"] for genre in genres["level3"]] == list(OWN_LABELS)
    lines = [line for line in own.get("/metrics").text.splitlines() if line.startswith("ccmusic_predictions_total{")]
    names = {line.split('genre="')[1].split('"')[0]: float(line.split()[-1]) for line in lines}
    assert names.keys() == set(OWN_LABELS)
    assert names[OWN_LABELS[BAND]] >= 1


def infer(client: httpx.Client, *outputs: str) -> dict[str, list]:
    tensor = {"name": "audio", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(RECORDING).decode()]}
    body = {"inputs": [tensor], "outputs": [{"name": name} for name in outputs]}
    response = client.post("/v2/models/ccmusic/infer", json=body)
    assert response.status_code == 200, response.text
    return {tensor["name"]: tensor["data"] for tensor in response.json()["outputs"]}


def test_the_inference_protocol_has_tensors_for_each_taxonomy(world, own):
    described = {tensor["name"]: tensor for tensor in world.get("/v2/models/ccmusic").json()["outputs"]}
    assert list(described)[:4] == ["probabilities", "labels", "top_labels", "top_probabilities"]
    assert described["world_top_labels"]["shape"] == [1, 5]
    answer = infer(world, "top_labels", "world_top_labels", "world_probabilities", "world_labels")
    assert answer["top_labels"][0] == LABELS[BAND]
    assert answer["world_top_labels"][0] == WORLD.labels[15 - BAND]
    assert answer["world_labels"] == list(WORLD.labels)
    assert max(answer["world_probabilities"]) == answer["world_probabilities"][15 - BAND]

    shapes = {tensor["name"]: tensor["shape"] for tensor in own.get("/v2/models/ccmusic").json()["outputs"]}
    assert shapes == {"probabilities": [1, 3], "labels": [1, 3], "top_labels": [1, 3], "top_probabilities": [1, 3]}
    assert infer(own)["top_labels"][0] == OWN_LABELS[BAND]
    assert own.get("/v2/models/ccmusic").json()["parameters"]["taxonomies"] == "own"
