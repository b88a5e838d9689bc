"""Headings of Markdown, by hand and against markdown-it."""

import random

import pytest

from retrieval_index.chunking.markdown import headings, sections

PIECES = [
    "# A", "## B ##", "### ###", "#", "#no", "####### seven", "   # C", "    # code", "Para",
    "more text", "===", "---", "  ===  ", "--- -", "***", "", "", "", "```", "```py", "~~~", "````",
    "   ```", "<!-- c", "-->", "<!-- x -->", "<pre>", "</pre>", "<div>", "<b>bold</b>", "\ttab",
    "# E # F #", "#\tT", "# `a`  ", "Text ##", "| a | b |",
]  # fmt: skip


def found(text):
    return [(h.level, " ".join(text[h.content[0] : h.content[1]].split())) for h in headings(text)]


def test_same_headings_as_markdown_it():
    markdown_it = pytest.importorskip("markdown_it")
    parser = markdown_it.MarkdownIt("commonmark")
    rng = random.Random(4)
    seen = 0
    for _ in range(2500):
        text = "\n".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 10)))
        tokens = parser.parse("\ufffc\n\n" + text)[3:]  # no front matter, which it does not know
        expected = [
            (int(token.tag[1]), " ".join(tokens[i + 1].content.split()))
            for i, token in enumerate(tokens)
            if token.type == "heading_open"
        ]
        assert found("\ufffc\n\n" + text) == expected, text
        seen += len(expected)
    assert seen > 1500


@pytest.mark.parametrize(
    "text, expected",
    [
        ("---\ntitle: x\n---\n# A", [(1, "A")]),
        ("---\n\n# A\n---\n", [(1, "A")]),
        ("\ufeff---\ntitle: x\n---\nB\n---\n", [(2, "B")]),
        ("- item\n---\n", []),
        ("- ```\n  # code\n  ```\n# A", [(1, "A")]),
        ("1. one\n   # inside\n\n# A", [(1, "A")]),
        ("> quote\n---\n> # B", []),
        ("two\nlines\n===\r\n# A\r\n", [(1, "two lines"), (1, "A")]),
        ("```\n# never closed", []),
    ],
)
def test_headings_by_hand(text, expected):
    assert found(text) == expected


def paths(text):
    return [
        ("/".join(text[a:b] for a, b in section.path), text[section.start : section.end].strip())
        for section in sections(text)
    ]


def test_sections_are_the_whole_text():
    rng = random.Random(6)
    for _ in range(500):
        text = "\n".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 20)))
        whole = "".join(text[s.start : s.end] for s in sections(text))
        assert whole.strip() == text.strip()


def test_path_follows_the_levels():
    text = "# A\na\n### C\nc\n## B\nb\n# D\nd\n#\nempty"
    assert paths(text) == [
        ("A", "# A\na"), ("A/C", "### C\nc"), ("A/B", "## B\nb"), ("D", "# D\nd"), ("", "#\nempty"),
    ]  # fmt: skip


def test_heading_without_text_opens_the_section_below_it_only():
    assert paths("# A\n## B\nb\n## C\n## D\nd\n# E") == [
        ("A/B", "# A\n## B\nb"), ("A/C", "## C"), ("A/D", "## D\nd"), ("E", "# E"),
    ]  # fmt: skip
