"""Tagged words, entities in texts, and answers to questions, from every form of file."""

import gzip
import json
import warnings

import numpy as np
import pytest

from kzoo.datasets import DatasetError, DatasetWarning, load
from kzoo.metrics import entity_scores

CONLL = """-DOCSTART- -X- O O

EU NNP I-NP B-ORG
rejects VBZ I-VP O
call NN I-NP O

-DOCSTART- -X- O O

Peter NNP I-NP B-PER
Black\u00a0Sea\tNNP I-NP I-PER\r
"""


@pytest.fixture(autouse=True)
def no_warning_goes_unnoticed():
    with warnings.catch_warnings():
        warnings.simplefilter("error", DatasetWarning)
        yield


def write(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode())
    return path


def jsonl(path, *rows):
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


def squad(path, *questions, context="The cat sat on the mat."):
    paragraphs = [{"context": context, "qas": [*questions]}]
    return write(path, json.dumps({"version": "v2.0", "data": [{"paragraphs": paragraphs}]}))


def asked(question, *answers, **more):
    found = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": question[:1], "question": question, "answers": found, **more}


def test_conll_columns_documents_and_odd_blanks(tmp_path):
    data = load(write(tmp_path / "x.conll", CONLL), task="tag")
    train = data["train"]
    assert train.texts == [["EU", "rejects", "call"], ["Peter", "Black\u00a0Sea"]]
    assert train.labels.tolist() == [["B-ORG", "O", "O"], ["B-PER", "I-PER"]]
    assert train.inputs is train.texts and train.is_annotated and not train.is_regression
    assert data.label_names is None and not data.card.skipped
    assert data.card.notes == ("2 lines -DOCSTART- of x.conll passed over",)
    chunks = load(tmp_path / "x.conll", task="tag", text_column="1", label_column="-2")["train"]
    assert chunks[0] == {"text": ["NNP", "VBZ", "NN"], "label": ["I-NP", "I-VP", "I-NP"]}
    bare = load(tmp_path / "x.conll", task="tag", labelled=False, strict=True)["train"]
    assert bare.labels is None and bare.texts == train.texts


def test_conll_sentence_with_a_bad_line_is_left_out_whole(tmp_path):
    text = "a O\nb O\n\nc O\nd\ne O\n\nf O\ng O O\n\nh B-X"
    path = write(tmp_path / "x.txt", text)
    with pytest.warns(
        DatasetWarning, match=r"2 x wrong number of columns \(expected 2\) \(x.txt:5"
    ):
        data = load(path, task="tag")
    assert data["train"].texts == [["a", "b"], ["h"]]
    assert data.card.skipped[0].where == ("x.txt:5", "x.txt:9")
    with pytest.raises(DatasetError, match=r"x\.txt:5: wrong number of columns"):
        load(path, task="tag", strict=True)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a O\n", {"label_column": "2"}, r"`label_column` .*one of its 2 columns.*'2'"),
        ("a O\n", {"text_column": "word"}, r"`text_column` .*number.*'word'"),
        ("a\n", {}, r"x\.conll:1: column 0 of 1 cannot be words and tags"),
        ("a O\n", {"pair_column": "1"}, "`pair_column` means nothing for `task` 'tag'"),
        ("a O\n", {"columns": ["a", "b"]}, "`columns` means nothing"),
        ("\n\n", {}, "no usable row: it is empty"),
        ("a O\n", {"encoding": "utf-8", "task": None}, "no known suffix.*`task='tag'`"),
    ],
)
def test_what_cannot_be_read_of_conll_is_said(tmp_path, text, options, message):
    with pytest.raises(DatasetError, match=message):
        load(write(tmp_path / "x.conll", text), **{"task": "tag", **options})


def test_folder_of_conll_files_and_sampling(tmp_path):
    write(tmp_path / "train.txt", "".join(f"w{i} O\nx B-X\n\n" for i in range(20)))
    (tmp_path / "dev.conll.gz").write_bytes(gzip.compress(b"a O\n"))
    write(tmp_path / "README.md", "not a split")
    data = load(tmp_path, task="tag")
    assert {name: len(split) for name, split in data.items()} == {"train": 20, "validation": 1}
    taken = data["train"].take(5, seed=1)
    assert len(taken) == 5 and all(label == ["O", "B-X"] for label in taken.labels)
    assert [text[0] for text in taken.texts] == [f"w{i}" for i in data["train"].sample(5, seed=1)]
    with pytest.raises(DatasetError, match="`per_class=True` needs class labels"):
        data["train"].take(1, per_class=True)
    split = load(tmp_path / "train.txt", task="tag", validation_fraction=0.25)
    assert (len(split["train"]), len(split["validation"])) == (15, 5)
    assert repr(split["train"]) == "Split(15 rows, annotated)"
    assert split.summary()["splits"]["validation"] == {"rows": 5, "pairs": False}


def test_token_lists(tmp_path):
    rows = [
        {"tokens": ["a", "b"], "tags": ["O", "B-X"], "id": 1},
        {"tokens": ["a"], "tags": ["O", "O"]},
        {"tokens": [], "tags": []},
        {"tokens": ["a", 3], "tags": ["O", "O"]},
        {"tokens": ["a"], "tags": [0]},
        {"tokens": ["c", "d"], "tags": ["O", "O"]},
    ]
    path = jsonl(tmp_path / "train.jsonl", *rows)
    jsonl(tmp_path / "test.jsonl", {"tokens": ["e"]})
    with pytest.warns(DatasetWarning, match="4 rows left out"):
        data = load(tmp_path, task="tag")
    # Rows of equal length stay lists, and do not become a matrix.
    assert data["train"].labels.shape == (2,) and data["train"].labels[1] == ["O", "O"]
    assert data["train"].ids == ["1", "train.jsonl:6"]
    assert {item.reason: item.where for item in data.card.skipped} == {
        "'tags' has another number than 'tokens'": ("train.jsonl:2",),
        "nothing in 'tokens'": ("train.jsonl:3",),
        "'tokens' is no list of strings": ("train.jsonl:4",),
        "'tags' is no list of strings": ("train.jsonl:5",),
    }
    assert data["test"].labels is None
    assert data.card.notes == ("split 'test' has no column of labels, so it is unlabelled",)
    other = jsonl(tmp_path / "o.jsonl", {"words": ["a"], "ner": ["O"], "tags": ["NN"]})
    named = load(other, task="tag", text_column="words", label_column="ner")["train"]
    assert named.labels.tolist() == [["O"]]
    with pytest.raises(
        DatasetError, match=r"must have the columns \['tokens', 'tags'\] or .*words"
    ):
        load(other, task="tag")
    with pytest.raises(DatasetError, match=r"train\.jsonl:2: 'tags' has another number"):
        load(path, task="tag", strict=True)


def test_parquet_of_token_lists(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"tokens": [["a"]], "tags": [["O"]]}), tmp_path / "x.parquet")
    assert load(tmp_path / "x.parquet", task="tag")["train"][0] == {"text": ["a"], "label": ["O"]}


def test_texts_with_entities(tmp_path):
    def row(*spans, text="Köln am Rhein"):
        keys = ("start", "end", "label")
        return {"text": text, "entities": [dict(zip(keys, s, strict=False)) for s in spans]}

    good = [row((8, 13, "RIVER"), (0, 4, "CITY")), row()]
    bad = [row((0, 14, "X")), row((3, 3, "X")), row((0, 4)), row((0, "4", "X")), row(text=" ")]
    path = jsonl(tmp_path / "x.jsonl", *good, *bad)
    with pytest.warns(DatasetWarning, match="5 rows left out"):
        data = load(path, task="tag")
    train = data["train"]
    assert train.texts == ["Köln am Rhein"] * 2
    assert train.labels.tolist() == [[(8, 13, "RIVER"), (0, 4, "CITY")], []]
    assert [train.texts[0][start:end] for start, end, _ in train.labels[0]] == ["Rhein", "Köln"]
    assert {item.reason: len(item.where) for item in data.card.skipped} == {
        "an entry of 'entities' lies outside the text": 2,
        "an entry of 'entities' has not start, end and label": 1,
        "an entry of 'entities' has not two whole numbers and a label": 1,
        "no text in 'text'": 1,
    }


def test_folder_of_sequences(tmp_path):
    for name in ("train", "valid"):
        write(tmp_path / name / "seq.in", "play  jazz \nadd\u00a0it to x\n")
        write(tmp_path / name / "seq.out", "O B-style \nO O B-list\n")
    data = load(tmp_path, task="tag")
    assert list(data) == ["train", "validation"]
    assert data["train"].texts == [["play", "jazz"], ["add\u00a0it", "to", "x"]]
    assert data["train"].labels[1] == ["O", "O", "B-list"]
    assert load(tmp_path / "valid", task="tag", split="train").texts == data["train"].texts
    write(tmp_path / "valid" / "seq.out", "O B-style O\n")
    with pytest.raises(DatasetError, match=r"valid.*differ in their number of lines"):
        load(tmp_path, task="tag")
    with pytest.raises(DatasetError, match="`label_column` means nothing for the folder"):
        load(tmp_path, task="tag", label_column="1")
    (tmp_path / "valid" / "seq.out").unlink()
    with pytest.raises(DatasetError, match=r"has no file 'seq\.out'"):
        load(tmp_path, task="tag")


def test_squad(tmp_path):
    path = squad(
        tmp_path / "x.json",
        asked("Who sat?", ("The cat", 0), ("cat", 4)),
        asked("Why?", is_impossible=True, plausible_answers=[{"text": "mat", "answer_start": 19}]),
        asked("Where?", ("mat", 18)),
        asked("When?", ("mat", 19), is_impossible=True),
        {"id": "5", "question": "What?"},
        {"id": "6", "answers": []},
        "seven",
    )
    with pytest.warns(DatasetWarning, match="5 rows left out"):
        data = load(path, task="span")
    train = data["train"]
    assert train.inputs == [("Who sat?", "The cat sat on the mat."), ("Why?", train.text_pairs[1])]
    assert train.labels.tolist() == [
        {"text": ["The cat", "cat"], "answer_start": [0, 4]},
        {"text": [], "answer_start": []},
    ]
    assert train.ids == ["W", "W"] and train[1]["label"]["text"] == []
    assert {item.reason: item.where for item in data.card.skipped} == {
        "an answer does not stand at its start in the context": ("x.json:3",),
        "is_impossible, and has an answer": ("x.json:4",),
        "answers have not text and answer_start": ("x.json:5",),
        "no text in 'question'": ("x.json:6",),
        "a question is no JSON object": ("x.json:7",),
    }
    with pytest.raises(DatasetError, match=r"x\.json:7: a question is no JSON object"):
        load(path, task="span", strict=True)
    # The same as lines, as HF's data have it.
    rows = [
        {"question": q, "context": c, "answers": a}
        for (q, c), a in zip(train.inputs, train.labels, strict=True)
    ]
    again = load(jsonl(tmp_path / "x.jsonl", *rows), task="span")["train"]
    assert again.inputs == train.inputs and again.labels.tolist() == train.labels.tolist()


@pytest.mark.parametrize("text", ['{"data": [{"paragraphs": [{"qas": [1]}]}]}', "[1]", '{"data": '])
def test_other_json_is_not_squad(tmp_path, text):
    with pytest.raises(DatasetError, match="is not in SQuAD's form"):
        load(write(tmp_path / "x.json", text), task="span")


def test_unlabelled_questions(tmp_path):
    path = squad(tmp_path / "x.json", {"id": "1", "question": "Who?"})
    assert load(path, task="span", labelled=False)["train"].labels is None
    with pytest.raises(DatasetError, match=r"must have the columns.*'answers'.*found: \['id'"):
        load(path, task="span")
    with pytest.raises(DatasetError, match=r"`task` must be .*'choose' or None, received 'qa'"):
        load(path, task="qa")


def test_snips(shared_data):
    data = load(shared_data / "text" / "snips", task="tag", strict=True)
    assert {name: len(split) for name, split in data.items()} == {
        "train": 13084,
        "validation": 700,
        "test": 700,
    }
    tags = {tag for row in data["train"].labels for tag in row}
    assert len(tags) == 72 and len({tag[2:] for tag in tags if tag != "O"}) == 39
    test = data["test"].labels
    scores = entity_scores(test, test)
    assert scores.micro.true == 1790 and scores.micro.f1 == scores.macro.f1 == 1.0


@pytest.mark.parametrize("language", ["en", "zh"])
def test_xquad(shared_data, language):
    data = load(shared_data / "text" / "xquad" / f"xquad.{language}.json", task="span", strict=True)
    train = data["train"]
    assert len(train) == 1190 == len(set(train.ids)) and len(set(train.text_pairs)) == 240
    assert all(len(label["text"]) == 1 for label in train.labels)
    assert isinstance(train.labels, np.ndarray)
