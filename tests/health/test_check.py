import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from ccmusic import health
from ccmusic.health import Check, failed, passed, warned
from ccmusic.health.check import HEALTH_CODES, error_text, result_of


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (True, True),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (None, None),
        ([1], "[1]"),
    ],
)
def test_a_value_becomes_one_that_json_can_represent(value, shown):
    result = result_of(Check("a", passed), passed(value), 0.0)
    assert (result.value, type(result.value)) == (shown, type(shown))
    assert json.loads(json.dumps(result.value, allow_nan=False)) == shown


def test_the_sentence_names_check_and_cause():
    check = Check("disk", passed)
    assert result_of(check, failed("full"), 0.0).sentence == "Health check failed: disk: full"
    assert result_of(check, failed("full", message="Full!"), 0.0).sentence == "Full!"


def test_an_error_without_text_is_named_by_its_class():
    assert error_text(MemoryError()) == "MemoryError"
    assert error_text(ValueError("x")) == "x"


def test_an_observation_has_a_code_of_its_own_or_the_default_of_its_status():
    assert [make.code for make in (passed(), warned("c"), failed("c"))] == ["ok", "warning", "failed"]
    assert result_of(Check("disk", passed), failed("no space left", code="full"), 0.0).code == "full"
    with pytest.raises(ValueError, match="consists of a-z"):
        failed("c", code="No Space")


def test_the_package_uses_no_code_that_it_does_not_list():
    text = "".join(path.read_text() for path in Path(health.__file__).parent.glob("*.py"))
    assert set(re.findall(r'code="([^"]+)"', text)) <= HEALTH_CODES
