"""Where sentences end, in cases by hand ("|" marks an end)."""

import random

import pytest
from test_index_chunk_methods import random_text

from retrieval_index import Chunker, Document
from retrieval_index.chunking.sentence_spans import sentence_spans

CASES = [
    "It rains today.| Nobody goes out.",
    "Who left the door open?| The cat did.",
    "Nobody heard Clara B. Weber arrive.",
    "The table is on p. 12 of the report.",
    "The firm of Hall & Co. at the harbour sells rope.",
    "From here one sees Mt. Etna and St. Peter's.",
    "He spent a year in the U.S.A. before the war.",
    "She moved to the U.S.| There she wrote.",
    "The U.S. Senate agreed, and the U.K. did not.",
    "At 7 a.m. Mrs. Bell fed the hens.| By 9 P.M.| They slept.",
    "Each costs $4.50.| That is cheap.",
    "The pump (It was new in 1990.) still works.",
    "Write to mail@example.org.| See www.example.org/a.b.html.| Thanks.",
    "He looked up, 'It is late.' and went on.",
    'She asked, "Is it late?" and went on.',
    'She said, "It is late."| Then she went.',
    "Stop!!| What now?!| Go.",
    "1. Wash the rice|\n2. Boil it",
    "Some fruit, e.g. plums (cf. Hill et al. 1999), keeps.| See Fig. 3 and Eq. 4.| Done.",
    "We gave 3.5 mg of it.| Then we stopped.",
    "She waited....| Nobody came.",
    "He was ... well, who knows...he left.",
    "He shouted “Fire!”| All ran.",
    "Dr. Lind, Ph.D., began in 1998.| 25 people came.",
    "The answer is no.| It always was.",
    "See no. 5 in vol. 3 of the series.| It is good.",
    "It was due on Jan. 5.| He paid in Dec.| All was well.",
    "Version 2.0 is out.| It has, i.e. fixes, nothing new.",
    "It is 5 p.m.| We go home.",
    "The proof is complete.[12]| We turn to lemma 4.",
    "no capitals at all here.| are these two sentences?| yes, three.",
    "There were only Tom and I.| We left.",
    "To do:|\n- milk the cow|\n- feed the dog",
    "A line without a stop|\n\nThen the text begins.| It goes on\nacross lines.",
    "Das ist z.B. ein Test.| Er kostet ca. 5 Euro, vgl. Kap. 3.| Fertig.",
    "Prof. Dr. Kern wohnt in der Hauptstr. 5.| Er ist 40.",
    "M. Petit est là.| « Bonsoir ! »| Il partit.",
    "¿Qué hora es?| ¡Tarde!| El Sr. Ruiz duerme.",
    "雨です。|傘は？|ない！|「帰る。」と言った。|終わり。",
    "下雨了。|你呢？|「走吧！」|他走了。",
    "円周率は３．１４です。|はい。",
    "वर्षा हुई।| सब भीगे।",
    "هل جاء المطر؟| نعم.",
    "Он живёт в г. Орле.| Она врач.",
]


@pytest.mark.parametrize("marked", CASES)
def test_sentences(marked):
    text = marked.replace("|", "")
    found = [text[a:b].strip() for a, b in sentence_spans(text)]
    assert [s for s in found if s] == [s.strip() for s in marked.split("|") if s.strip()]


def test_spans_are_the_whole_text_in_order():
    rng = random.Random(2)
    for _ in range(500):
        text = random_text(rng)
        assert "".join(text[a:b] for a, b in sentence_spans(text)) == text
        start, end = sorted(rng.choices(range(len(text) + 1), k=2))
        part = "".join(text[a:b] for a, b in sentence_spans(text, start, end))
        assert part == text[start:end]


HOSTILE = {
    "stops": ".", "leaders": ". ", "quotes": '."', "brackets": ".[1]", "newlines": "\n ",
    "spaces": " ", "marks": "\u0301", "flags": "🇩", "joined": "👩\u200d", "hashes": "#",
    "hash words": "# ", "fences": "```\n", "rules": "- ", "quoted": ">", "tags": "<a ",
    "under": "a\n-\n", "dashes": "---\n", "crs": "\r", "cjk": "。", "numbers": "1. A ",
}  # fmt: skip


@pytest.mark.parametrize("method", ["sentences", "paragraphs", "headings", "characters"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_take_no_quadratic_time(name, method):
    # A quadratic step over 120,000 characters would take minutes; nothing is timed.
    text = "x" + HOSTILE[name] * (120_000 // len(HOSTILE[name])) + "y"
    chunks = Chunker(100, 20, method=method).split(Document("d", text))
    assert chunks[0].start == 0 and chunks[-1].end == len(text)
