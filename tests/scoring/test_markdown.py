from __future__ import annotations

from ccmusic.scoring.markdown import table


def test_plain() -> None:
    assert table(["a", "b"], [[1, "x|y"]]) == "| a | b |\n| --- | --- |\n| 1 | x\\|y |\n"


def test_aligned_with_characters_of_two_columns() -> None:
    assert table(["label", "n"], [["民谣", 10], ["folk", 2]], aligned=True) == (
        "| label | n   |\n"
        "| ---   | --- |\n"
        "| 民谣  | 10  |\n"
        "| folk  | 2   |\n"
    )  # fmt: skip
