"""Chunks cover the text, fit the size, overlap as asked, and know their characters."""

import random
import re
from itertools import pairwise

import pytest

from retrieval_index import ArgumentError, Chunker, Document, EncoderError
from retrieval_index.chunking.units import token_spans, word_spans

PIECES = [
    "word", "Sentence.", "Really?", '"Quoted."', "a", "\n", "\n\n", " ", "\t", "\u00a0", "\u3000",
    "日本語。", "東京", "ไทย", "한국어", "🙂", "e\u0301", "\u200b", "\x00", "\x1f", "x" * 50,
    "(end!)", "https://example.org/a/long/path?with=a&query=string",
]  # fmt: skip


def random_text(rng):
    return "".join(rng.choice([*PIECES, " ", " "]) for _ in range(rng.randrange(1, 120)))


def characters(text):
    """A tokeniser at its worst: one token a character, and control characters dropped."""
    return [(i, i + 1) for i, c in enumerate(text) if not c.isspace() and c.isprintable()]


def spaced_bytes(text):
    """As byte-level BPE does: the space belongs to the next word, an emoji is several tokens."""
    spans = []
    for match in re.finditer(r"\s*\S+|\s+", text):
        spans += [match.span()] * (3 if "🙂" in match.group() else 1)
    return spans


TOKENISERS = {"words": None, "characters": characters, "bytes": spaced_bytes}


def offsets(name):
    split = TOKENISERS[name]
    return None if split is None else lambda texts: [split(text) for text in texts]


@pytest.mark.parametrize("tokeniser", TOKENISERS)
def test_properties_on_random_texts(tokeniser):
    rng = random.Random(7)
    token_offsets = offsets(tokeniser)
    for _ in range(400):
        text = random_text(rng)
        if not text.strip():
            continue
        size = rng.randrange(1, 30)
        overlap = rng.randrange(size)
        chunks = Chunker(size, overlap, token_offsets).split(Document("d", text))
        covered = set()
        for chunk in chunks:
            assert chunk.text == text[chunk.start : chunk.end] == chunk.text.strip() != ""
            covered.update(range(chunk.start, chunk.end))
        missing = [i for i, c in enumerate(text) if not c.isspace() and i not in covered]
        assert not missing, (text, size, overlap)
        assert [c.start for c in chunks] == sorted({c.start for c in chunks})
        assert [c.end for c in chunks] == sorted({c.end for c in chunks})
        if tokeniser == "words":
            counts = [len(word_spans(chunk.text)) for chunk in chunks]
            assert max(counts) <= size
            for left, right in pairwise(chunks):
                assert len(word_spans(text[right.start : left.end])) <= overlap


def words(count, prefix="w"):
    return " ".join(f"{prefix}{i}" for i in range(count))


def test_plain_windows_by_hand():
    chunks = Chunker(4, 1).split(Document("d", words(10)))
    assert [c.text for c in chunks] == ["w0 w1 w2 w3", "w3 w4 w5 w6", "w6 w7 w8 w9"]
    assert [(c.start, c.end) for c in chunks] == [(0, 11), (9, 20), (18, 29)]


def test_text_of_exactly_one_window_is_one_chunk():
    assert len(Chunker(10, 3).split(Document("d", words(10)))) == 1
    assert len(Chunker(10, 3).split(Document("d", words(11)))) == 2


def test_cut_prefers_sentence_and_paragraph_ends():
    text = "one two three four five. six seven eight nine ten"
    assert [c.text for c in Chunker(7, 0).split(Document("d", text))] == [
        "one two three four five.", "six seven eight nine ten",
    ]  # fmt: skip
    text = "one two three four five\n\nsix. seven eight nine ten"
    assert Chunker(7, 0).split(Document("d", text))[0].text == "one two three four five"
    # Too far back to be worth it: an even cut.
    text = "one two. three four five six seven eight nine ten"
    assert Chunker(7, 0).split(Document("d", text))[0].text == "one two. three four five six seven"


def test_overlap_begins_with_a_sentence_where_one_does():
    text = "a b c d. e f g h i j k l"
    chunks = Chunker(7, 4).split(Document("d", text))
    assert chunks[0].text == "a b c d. e f g"
    assert chunks[1].text.startswith("e f g h")  # 3 words repeated, not 4
    assert [c.text for c in Chunker(7, 2).split(Document("d", text))][1].startswith("f g h")


def test_closing_quotes_and_cjk_sentence_ends():
    text = 'He said "one two three." And then four five six seven'
    assert Chunker(7, 0).split(Document("d", text))[0].text == 'He said "one two three."'
    text = "日本語。東京大学院"
    assert Chunker(5, 0).split(Document("d", text))[0].text == "日本語。"


def test_unspaced_text_does_not_become_one_endless_chunk():
    chunks = Chunker(100, 0).split(Document("d", "漢" * 950))
    assert [len(chunk.text) for chunk in chunks] == [100] * 9 + [50]
    assert [len(c.text) for c in Chunker(10, 0).split(Document("d", "x" * 320))] == [160, 160]


def test_title_is_encoded_with_every_chunk_and_counts():
    chunks = Chunker(4, 0).split(Document("d", words(6), " The title "))
    assert [c.encoded for c in chunks] == [
        "The title\nw0 w1", "The title\nw2 w3", "The title\nw4 w5",
    ]  # fmt: skip
    assert chunks[1].text == "w2 w3" and (chunks[1].start, chunks[1].end) == (6, 11)


def test_long_title_takes_half_at_most_and_alone_is_a_chunk():
    chunks = Chunker(4, 3).split(Document("d", words(3), words(9, "t")))
    assert [c.encoded for c in chunks] == ["t0 t1\nw0 w1", "t0 t1\nw1 w2"]
    (only,) = Chunker(4, 0).split(Document("d", "  ", "Just a title"))
    assert (only.start, only.end, only.text, only.encoded) == (0, 0, "", "Just a")


def test_tokens_are_the_unit_where_the_encoder_tells_them():
    chunker = Chunker(5, 1, offsets("characters"))
    assert chunker.settings() == {"method": "tokens", "units": "tokens", "size": 5, "overlap": 1}
    assert [c.text for c in chunker.split(Document("d", "abc def ghi"))] == ["abc de", "ef ghi"]


def test_characters_a_tokeniser_left_out_are_counted_as_words():
    assert token_spans(["ab cd ef"], lambda texts: [[(0, 2)]]) == [[(0, 2), (3, 5), (6, 8)]]


@pytest.mark.parametrize(
    "answer, message",
    [
        ([[]], "one list for each of 2"),
        ([[(0, 9)], []], r"\(0, 9\)"),
        ([[(2, 3), (0, 1)], []], "order"),
    ],
)
def test_bad_offsets_are_refused(answer, message):
    with pytest.raises(EncoderError, match=message):
        token_spans(["abc", "d"], lambda texts: answer)


@pytest.mark.parametrize(
    "size, overlap, message",
    [
        (0, 0, "`chunk_size` must be at least 1; received: 0"),
        (2.5, 0, "`chunk_size` must be a whole number"),
        (True, 0, "`chunk_size` must be a whole number"),
        (10, 10, r"`overlap` must be smaller than `chunk_size` \(10\).*received: 10"),
        (10, 11, "`overlap` must be smaller"),
        (10, -1, "`overlap` must be a whole number from 0 on; received: -1"),
        (10, 1.0, "`overlap` must be a whole number"),
    ],
)
def test_sizes_are_checked(size, overlap, message):
    with pytest.raises(ArgumentError, match=message):
        Chunker(size, overlap)


class Reads:
    name = "test:reads"

    def __init__(self, max_tokens, tokens=False):
        self.max_tokens = max_tokens
        if tokens:
            self.token_offsets = offsets("characters")


@pytest.mark.parametrize(
    "encoder, size, overlap",
    [
        (Reads(256), 160, 20),
        (Reads(None), 160, 20),
        (Reads(8192), 160, 20),
        (Reads(128), 80, 10),
        (Reads(256, tokens=True), 248, 31),
        (Reads(8192, tokens=True), 248, 31),
        (Reads(10, tokens=True), 5, 0),
    ],
)
def test_defaults_suit_the_encoder(encoder, size, overlap):
    chunker = Chunker.for_encoder(encoder, None, None)
    assert (chunker.size, chunker.overlap) == (size, overlap)


def test_size_beyond_what_the_encoder_reads():
    with pytest.raises(ArgumentError, match=r"`chunk_size` is 300 tokens.*reads 256"):
        Chunker.for_encoder(Reads(256, tokens=True), 300, None)


def test_overlap_shrinks_with_the_room_a_title_leaves():
    chunks = Chunker(8, 4).split(Document("d", words(8), words(4, "t")))
    assert [c.text for c in chunks] == ["w0 w1 w2 w3", "w2 w3 w4 w5", "w4 w5 w6 w7"]
