"""Every method of chunking: coverage, sizes and spans on random texts, and cases by hand."""

import json
import random
import unicodedata

import pytest
from index_helpers import numbered

from retrieval_index import ArgumentError, Chunker, Document
from retrieval_index.chunking.chunker import methods
from retrieval_index.chunking.units import is_border, word_spans

METHODS = ["tokens", "sentences", "paragraphs", "headings", "characters", "none"]
PIECES = [
    "word", "Sentence.", "Really?", '"Quoted."', "a", "\n", "\n\n", "\r\n\r\n", " ", "\t", "\u00a0",
    "日本語。", "「東京。」と", "ไทย", "한국어", "ᄒ\u1161\u11ab", "🙂", "👩\u200d💻", "👍🏽", "🇩🇪",
    "e\u0301", "\u0301", "\u200b", "\x00", "x" * 50, "(end!)", "e.g. ", "3.14", "Dr. ", "\n# A\n",
    "\n## B ##\n", "\nC\n===\n", "\n```\n# code\n```\n", "\n---\n", "\n- item\n",
    "\ud83d", "\udc00",
]  # fmt: skip


def random_text(rng):
    return "".join(rng.choice([*PIECES, " ", " "]) for _ in range(rng.randrange(1, 120)))


def characters(texts):
    """A tokeniser at its worst: one token a character, and control characters dropped."""
    return [
        [(i, i + 1) for i, c in enumerate(text) if not c.isspace() and c.isprintable()]
        for text in texts
    ]


def sized(method, size, overlap, offsets=None):
    return Chunker(
        **({} if method == "none" else {"size": size, "overlap": overlap}),
        token_offsets=offsets, method=method,
    )  # fmt: skip


@pytest.mark.parametrize("offsets", [None, characters], ids=["words", "tokens"])
@pytest.mark.parametrize("method", METHODS)
def test_properties_on_random_texts(method, offsets):
    rng = random.Random(11)
    for _ in range(300):
        text, title = random_text(rng), rng.choice(["", "Some title", "A"])
        if not text.strip():
            continue
        size = rng.randrange(2, 40)
        overlap = rng.randrange(size)
        chunker = sized(method, size, overlap, offsets)
        chunks = chunker.split(Document("d", text, title))
        covered = set()
        for chunk in chunks:
            assert chunk.text == text[chunk.start : chunk.end] == chunk.text.strip() != ""
            assert chunk.tokens > 0
            covered.update(range(chunk.start, chunk.end))
        missing = [i for i, c in enumerate(text) if not c.isspace() and i not in covered]
        assert not missing, (text, size, overlap)
        assert [c.start for c in chunks] == sorted({c.start for c in chunks})
        assert [c.end for c in chunks] == sorted({c.end for c in chunks})
        if method != "tokens":
            for chunk in chunks:
                assert is_border(text, chunk.start) and is_border(text, chunk.end)
        for chunk in chunks:
            if method == "none":
                assert chunk.tokens == 1
            elif method == "characters":
                assert chunk.tokens == len(chunk.text) + len(chunk.heading)
                assert chunk.tokens <= size or len(list(clusters(chunk.text))) == 1
            elif offsets is None:
                assert len(word_spans(chunk.text)) <= chunk.tokens
                # More units than asked for only in what cannot be cut.
                assert chunk.tokens <= size or len(list(clusters(chunk.text))) == 1


def clusters(text):
    begin = 0
    for place in range(1, len(text) + 1):
        if is_border(text, place):
            yield text[begin:place]
            begin = place


@pytest.mark.parametrize("method", METHODS)
def test_many_documents_at_once_give_the_same_chunks(method):
    rng = random.Random(3)
    documents = [Document(f"d{i}", random_text(rng), "T" * (i % 3)) for i in range(150)]
    calls = []

    def offsets(texts):
        calls.append(len(texts))
        return characters(texts)

    chunker = sized(method, 12, 3, offsets)
    together = list(chunker.split_many(iter(documents)))
    assert len(calls) == (0 if method in ("characters", "none") else 3)  # 64, 64 and 22 documents
    assert [document for document, _ in together] == documents
    assert [chunks for _, chunks in together] == [chunker.split(d) for d in documents]


def test_long_documents_are_not_read_far_ahead():
    read = []

    def documents():
        for i in range(5):
            read.append(i)
            yield Document(f"d{i}", "word " * 8_000)

    next(iter(Chunker().split_many(documents())))
    assert read == [0, 1, 2]


def texts(method, size, overlap, text, title=""):
    return [c.encoded for c in sized(method, size, overlap).split(Document("d", text, title))]


def test_sentences_by_hand():
    text = "One two three. Four five? Six seven eight nine. Ten."
    assert texts("sentences", 6, 0, text) == [
        "One two three. Four five?",
        "Six seven eight nine. Ten.",
    ]
    assert texts("sentences", 6, 2, text) == [
        "One two three. Four five?", "Four five? Six seven eight nine.", "Ten.",
    ]  # fmt: skip


def test_overlap_is_whole_sentences_and_gives_way_to_the_next():
    text = "A b. C d. E f g h i. J k."
    assert texts("sentences", 6, 3, text) == ["A b. C d.", "E f g h i.", "J k."]
    assert texts("sentences", 7, 3, text) == ["A b. C d.", "C d. E f g h i.", "J k."]
    assert texts("sentences", 7, 5, text) == ["A b. C d.", "C d. E f g h i.", "E f g h i. J k."]


def test_a_sentence_too_long_is_cut():
    text = "A b. " + " ".join(f"w{i}" for i in range(9)) + ". C d."
    assert texts("sentences", 4, 0, text) == ["A b. w0 w1", "w2 w3 w4 w5", "w6 w7 w8.", "C d."]


def test_paragraphs_by_hand():
    text = (
        "One two.\nStill one.\n\nTwo three.\r\n \r\nFour five six. Seven eight nine ten.\n\n\nEnd."
    )
    assert texts("paragraphs", 6, 0, text) == [
        "One two.\nStill one.\n\nTwo three.", "Four five six.", "Seven eight nine ten.\n\n\nEnd.",
    ]  # fmt: skip
    assert texts("paragraphs", 6, 2, text)[1] == "Two three.\r\n \r\nFour five six."


MARKDOWN = """Before any heading.

# A

## B

Text of B.

### C #
Text of C.

```python
# no heading
```

## D
Text of D.

Second
======
Last.
"""


def test_headings_by_hand():
    chunks = Chunker(30, 0, method="headings").split(Document("d", MARKDOWN))
    assert [c.heading for c in chunks] == ["", "A > B", "A > B > C", "A > D", "Second"]
    assert [c.text for c in chunks] == [
        "Before any heading.", "# A\n\n## B\n\nText of B.",
        "### C #\nText of C.\n\n```python\n# no heading\n```", "## D\nText of D.",
        "Second\n======\nLast.",
    ]  # fmt: skip
    assert chunks[1].encoded == "A > B\n# A\n\n## B\n\nText of B."


def test_title_stands_before_the_path_once():
    assert texts("headings", 30, 0, "# A\n\ntext", "Title") == ["Title > A\n# A\n\ntext"]
    assert texts("headings", 30, 0, "# The  A\n\ntext", "The A") == ["The A\n# The  A\n\ntext"]
    assert texts("headings", 30, 0, "plain text", "Title") == ["Title\nplain text"]


def test_path_takes_half_at_most_and_keeps_what_is_nearest():
    text = "# One two three\n## Four five\nbody body"
    chunks = Chunker(12, 0, method="headings").split(Document("d", text))
    assert [c.heading for c in chunks] == ["One two three > Four five"] * 2
    chunks = Chunker(10, 0, method="headings").split(Document("d", text))
    assert {c.heading for c in chunks} == {"Four five"}
    chunks = Chunker(2, 0, method="headings").split(Document("d", text))
    assert {c.heading for c in chunks} == {"Four"}
    assert max(c.tokens for c in chunks) <= 2


def test_long_sections_fall_back_to_paragraphs():
    text = "# A\n\none two three\n\nfour five six\n\nseven"
    assert texts("headings", 6, 0, text) == [
        "A\n# A\n\none two three", "A\nfour five six\n\nseven",
    ]  # fmt: skip


def test_characters_by_hand():
    assert texts("characters", 4, 0, "abcdefghij") == ["abcd", "efgh", "ij"]
    assert texts("characters", 4, 1, "abcdefghij") == ["abcd", "defg", "ghij"]
    assert texts("characters", 4, 0, "ab    cd ef") == ["ab", "cd e", "f"]
    assert texts("characters", 8, 0, "abcdefgh", "Title") == ["Titl\nabcd", "Titl\nefgh"]


def test_characters_stay_with_their_marks():
    accented = unicodedata.normalize("NFD", "éàü")
    assert texts("characters", 3, 0, accented) == ["e\u0301", "a\u0300", "u\u0308"]
    assert texts("characters", 1, 0, accented) == ["e\u0301", "a\u0300", "u\u0308"]
    assert texts("characters", 3, 2, "🇩🇪🇫🇷👍🏽") == ["🇩🇪", "🇫🇷", "👍🏽"]
    # What cannot be one character in earnest is cut all the same.
    assert max(map(len, texts("characters", 10, 0, "a" + "\u0301" * 1000))) <= 65


def test_one_passage_a_document():
    document = Document("d", "  All of it. " * 500, "A title")
    (chunk,) = Chunker(method="none").split(document)
    assert (chunk.start, chunk.end) == (2, len(document.text.rstrip()))
    assert chunk.encoded == f"A title\n{document.text.strip()}"
    assert chunk.tokens == 1


@pytest.mark.parametrize("method", METHODS)
def test_title_alone_is_a_chunk(method):
    (chunk,) = sized(method, 4, 0).split(Document("d", " \n", "Just title"))
    assert (chunk.start, chunk.end, chunk.text) == (0, 0, "")
    assert chunk.encoded == ("Ju" if method == "characters" else "Just title")


class Reads:
    name = "test:reads"

    def __init__(self, max_tokens=256, tokens=False):
        self.max_tokens = max_tokens
        if tokens:
            self.token_offsets = characters


@pytest.mark.parametrize(
    "method, tokens, settings",
    [
        ("sentences", True, ("tokens", 248, 31)),
        ("headings", False, ("words", 160, 20)),
        ("characters", True, ("characters", 960, 120)),
        ("none", True, ("documents", 1, 0)),
    ],
)
def test_settings_and_back(method, tokens, settings):
    encoder = Reads(tokens=tokens)
    chunker = Chunker.for_encoder(encoder, None, None, method)
    stored = json.loads(json.dumps(chunker.settings()))
    assert stored == {
        "method": method,
        **dict(zip(("units", "size", "overlap"), settings, strict=True)),
    }
    again = Chunker.from_settings(stored, encoder)
    assert again == chunker and again.settings() == stored
    text = numbered(1)[0][1] * 200
    assert again.split(Document("d", text)) == chunker.split(Document("d", text))


def test_words_stay_words_for_an_encoder_with_tokens():
    stored = Chunker(10, 2).settings()
    assert Chunker.from_settings(stored, Reads(tokens=True)).settings() == stored


@pytest.mark.parametrize(
    "change, message",
    [
        ({"units": "tokens"}, "count tokens of the encoder, but test:reads has no `token_offsets`"),
        ({"units": "characters"}, "must count words; received: 'characters'"),
        ({"method": "magic"}, "`method` must be one of 'tokens'.*received: 'magic'"),
        ({"method": "none"}, "no meaning with `method` 'none'"),
        ({"overlap": 10}, "`overlap` must be smaller"),
        ({"extra": 1}, "must have the keys"),
    ],
)
def test_settings_that_do_not_fit(change, message):
    stored = Chunker(10, 2).settings() | change
    with pytest.raises(ArgumentError, match=message):
        Chunker.from_settings(stored, Reads())


def test_sizes_are_refused_where_there_are_none():
    with pytest.raises(ArgumentError, match="no meaning"):
        Chunker.for_encoder(Reads(), 100, None, "none")
    with pytest.raises(ArgumentError, match="no meaning"):
        Chunker(100, 0, method="none")
    with pytest.raises(ArgumentError, match="300 tokens"):
        Chunker.for_encoder(Reads(tokens=True), 300, None, "paragraphs")
    # Characters are no tokens.
    assert Chunker.for_encoder(Reads(tokens=True), 300, None, "characters").size == 300


def test_methods_are_listed():
    assert list(methods()) == METHODS and all(methods().values())
