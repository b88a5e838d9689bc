"""The embedded data set: what is in it, what is not, and that no text is on two sides."""

import inspect
import itertools
import pathlib
import statistics
import subprocess
import sys

import numpy as np
import pytest

from kzoo import datasets
from kzoo.datasets.python_docs import chapters
from kzoo.datasets.python_docs.collect import RawDoc


@pytest.fixture(scope="module")
def data():
    return datasets.load("python-docs")


def rows(data):
    return {row["id"]: row for _, split in data.items() for row in split}


def test_size_and_classes(data):
    counts = {name: len(split) for name, split in data.items()}
    total = sum(counts.values())
    assert 3000 < total < 4500 and counts == data.card.counts
    assert counts["test"] / total == pytest.approx(0.2, abs=0.02)
    assert counts["validation"] / total == pytest.approx(0.1, abs=0.02)
    assert data.num_classes == 12
    for split in (data["train"], data["test"]):
        assert min(split.class_counts.values()) >= 0.02 * len(split)
        assert max(split.class_counts.values()) <= 0.20 * len(split)


def test_labels_of_known_objects(data):
    names = {
        "pathlib.Path.glob": "Files, Persistence, Compression and Formats",
        "os.path.commonprefix": "Files, Persistence, Compression and Formats",
        "math.isclose": "Numeric, Mathematical and Functional Programming",
        "statistics.mean": "Numeric, Mathematical and Functional Programming",
        "builtins.str.split": "Built-in and Data Types",
        "smtplib.SMTP.sendmail": "Internet Protocols and Support",
        "xml.etree.ElementTree.ElementTree.write": "Structured Markup Processing Tools",
    }
    found = rows(data)
    for name, chapter in names.items():
        assert data.label_names[found[name]["label"]] == chapter, name


def test_texts_are_the_docstrings_of_this_interpreter(data):
    found = rows(data)
    assert found["pathlib.Path.glob"]["text"] == inspect.getdoc(pathlib.Path.glob)
    assert found["statistics.mean"]["text"] == inspect.getdoc(statistics.mean)
    assert found["builtins.str.split"]["text"] == inspect.getdoc(str.split)


def test_no_text_twice_and_every_one_long_enough(data):
    texts = [text for _, split in data.items() for text in split.texts]
    keys = ["".join(ch for ch in text.lower() if ch.isalnum()) for text in texts]
    assert len(set(keys)) == len(keys)
    assert min(map(len, texts)) >= 60
    reasons = {item.reason: item.count for item in data.card.skipped}
    assert reasons["shorter than 30 characters"] > 300
    assert reasons["30 to 59 characters (in the corpus only)"] > 1000
    assert reasons["copy of another docstring of its chapter"] > 20


def test_the_split_depends_on_the_name_alone(data):
    # Written down, so that a change of the hash is noticed: published scores depend on it.
    assert RawDoc("pathlib.Path.mkdir", "", "", "").split == "train"
    found = {row["id"]: name for name, split in data.items() for row in split}
    assert all(RawDoc(id, "", "", "").split == name for id, name in found.items())


def test_excluded_and_private_modules_do_not_appear(data):
    names = list(rows(data))
    for module in ("tkinter", "turtle", "distutils", "antigravity", "this", "test", "idlelib"):
        assert not any(name.split(".")[0] == module for name in names)
    parts = [part for name in names for part in name.split(".") if part != "__future__"]
    assert not any(
        p.startswith("_") and not (p.startswith("__") and p.endswith("__")) for p in parts
    )


def test_chapter_table():
    assert chapters.chapter_of("os.path") == "Files, Persistence, Compression and Formats"
    assert chapters.chapter_of("os") == "Generic Operating System Services"
    assert chapters.chapter_of("xml.sax.handler") == "Structured Markup Processing Tools"
    assert chapters.chapter_of("tkinter.ttk") is None
    assert chapters.public_name("posixpath") == "os.path"
    assert chapters.public_name("email._policybase") is None
    listed = list(itertools.chain(*(m.split() for m in chapters.CHAPTERS.values())))
    assert len(set(listed)) == len(listed)
    new = {"compression", "annotationlib"}  # of later Python versions
    tops = {name.split(".")[0] for name in listed}
    assert tops - new <= set(sys.stdlib_module_names)


def test_loading_runs_no_library_code_and_prints_nothing():
    code = (
        "import sys, kzoo.datasets; d = kzoo.datasets.load('python-docs');"
        "bad = {'tkinter', 'this', 'antigravity', 'idlelib', 'turtle', 'webbrowser', 'tensorflow',"
        " 'keras', 'readline'} & set(sys.modules); assert not bad, bad"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_it_can_be_learnt_but_not_by_guessing(data):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    train, test = data["train"], data["test"]
    vectors = TfidfVectorizer(sublinear_tf=True)
    model = LogisticRegression(C=10, max_iter=2000)
    model.fit(vectors.fit_transform(train.texts), train.labels)
    score = np.mean(model.predict(vectors.transform(test.texts)) == test.labels)
    # Measured 0.80 on Python 3.11. Near 1 would mean that the text gives the label away.
    assert 0.70 < score < 0.90


def test_corpus_streams_docstrings_then_topics(data):
    documents = list(datasets.corpus("python-docs"))
    ids = [document["_id"] for document in documents]
    assert len(set(ids)) == len(ids)
    found = rows(data)
    docstrings = [d for d in documents if d["metadata"]["kind"] != "topic"]
    by_id = dict(zip(ids, documents, strict=True))
    assert all(by_id[name]["text"] == row["text"] for name, row in found.items())
    # An answer to a question may be short, so the corpus has more.
    only_here = [d for d in docstrings if d["_id"] not in found]
    assert len(only_here) > 1000 and all(30 <= len(d["text"]) < 60 for d in only_here)
    assert by_id["pathlib.Path.mkdir"]["text"] == inspect.getdoc(pathlib.Path.mkdir)
    assert by_id["math.isclose"]["metadata"] == {
        "kind": "function",
        "module": "math",
        "chapter": "Numeric, Mathematical and Functional Programming",
    }
    assert "assert" in by_id["topic:assert"]["text"] and len(documents) - len(docstrings) > 60
    assert all(d["text"].strip() and d["title"] for d in documents)
    assert iter(stream := datasets.corpus("python-docs")) is stream


def test_options_that_mean_nothing_are_refused():
    with pytest.raises(datasets.DatasetError, match="`text_column` means nothing for the dataset"):
        datasets.load("python-docs", text_column="text")
    with pytest.raises(datasets.DatasetError, match="'python-doc' is not a registered corpus"):
        datasets.corpus("python-doc")


def test_registry_lists_what_can_be_loaded():
    entries = {(entry.name, entry.kind): entry for entry in datasets.list()}
    assert entries["python-docs", "labelled"].license == "PSF-2.0"
    assert ("python-docs", "corpus") in entries

    def fake():
        raise AssertionError

    with pytest.raises(datasets.DatasetError, match="`name` 'python-docs' is registered already"):
        datasets.register("python-docs", summary="another")(fake)
