"""docs/methods.md is what `kzoo methods --markdown` prints: methods, families and marks."""

import re
from pathlib import Path

from kzoo.adapters.tables import listed_methods
from kzoo.backbones.families import FAMILIES
from tests.conformance.test_matrix import REFUSED, methods

PAGE = Path(__file__).resolve().parents[2] / "docs" / "methods.md"


def test_page_has_every_method_and_family():
    rows = [line.strip("|\n ") for line in PAGE.read_text().splitlines() if line.startswith("|")]
    cells = [[cell.strip(" `") for cell in re.split(r"\s*\|\s*", row)] for row in rows]
    header, _, *body = cells
    assert header == ["method", *FAMILIES]
    assert [row[0] for row in body] == list(listed_methods())
    shown = {
        row[0]: {f for f, mark in zip(FAMILIES, row[1:], strict=True) if mark == "-"}
        for row in body
    }
    # The matrix test finds out what is refused, alias by alias once; the page must say the same.
    for name in methods():
        assert shown[name] == REFUSED.get(name, set()), name
