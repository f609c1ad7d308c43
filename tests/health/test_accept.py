import pytest

from ccmusic.health.accept import preferred

JSON, HEALTH, TEXT = "application/json", "application/health+json", "text/plain"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/health+json", HEALTH),
        ("Application/Health+JSON ; Q=1", HEALTH),
        ("application/health+json, application/json", HEALTH),
        ("application/json, application/health+json", JSON),
        ("application/health+json;q=0.5, application/json", JSON),
        ("application/health+json, */*;q=0.1", HEALTH),
        ("*/*, application/health+json", HEALTH),
        ("application/*", JSON),
        ("application/*, application/json;q=0", HEALTH),
        ("text/*", TEXT),
        ("text/plain;q=0.9, application/json;q=0.8", TEXT),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", JSON),
        ("image/png", JSON),
        ("application/health+json;q=0", JSON),
        ("application/health+json;q=x, text/plain;q=0.1", TEXT),
        ("nonsense,, ;q=1", JSON),
    ],
)
def test_the_preferred_content_type(accept, chosen):
    assert preferred(accept, (JSON, HEALTH, TEXT)) == chosen
