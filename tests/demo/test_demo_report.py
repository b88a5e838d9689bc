"""The report: the numbers given, escaped, in one file."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from demo_helpers import LABELS, NASTY, finished_run

from kzoo.demo import plots
from kzoo.demo.console import model_rows, models_table, print_answers, scores_table
from kzoo.demo.questions import snippet
from kzoo.demo.report import render, write_report
from kzoo.demo.results import Verdict

VOID = {"meta", "img"}


class Page(HTMLParser):
    """Texts of the page, and whether its tags are closed in order."""

    def __init__(self, source):
        super().__init__()
        self.open, self.texts, self.tags = [], [], []
        self.feed(source)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    write_report(finished_run(), out)
    return out


def test_the_page_shows_the_numbers_given(written):
    page = Page((written / "report.html").read_text(encoding="utf-8"))
    texts = "\n".join(page.texts)
    for shown in (
        *("81.2%", "0.799", "75.3%", "0.741", "16.1%", "0.023", "1,234 train", "5,555 words"),
        *("22,830,876", "117,660", "93.1", "40", "100 (2.5 times)", "95.0%", "90.0%", "0.750"),
        *("io.open, characters 17 to 420, score 0.712", "4,321 documents in 6,040 passages"),
        *("+5.9 ± 1.2 points", "12.3", "187.6", "360.2", "3:19", "12.3 MB", "modules=csv, os"),
    ):
        assert shown in texts, shown


def test_every_text_is_escaped(written):
    source = (written / "report.html").read_text(encoding="utf-8")
    page = Page(source)
    assert "<script" not in source
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "read", "files", "folders", "up"})
    texts = "\n".join(page.texts)
    assert NASTY in texts and "Made <Up>" in texts and "How do I <read> a file?" in texts


def test_the_page_stands_alone(written):
    source = (written / "report.html").read_text(encoding="utf-8")
    assert "http" not in source and "url(" not in source and "@import" not in source
    page = Page(source)
    pictures = [attrs["src"] for tag, attrs in page.tags if tag == "img"]
    names = ("learning_curve.png", "confusion_matrix.png")
    for picture, name in zip(pictures, names, strict=True):
        head, _, data = picture.partition(",")
        assert head == "data:image/png;base64"
        assert base64.b64decode(data) == (written / name).read_bytes()
    assert not any("href" in attrs for _, attrs in page.tags)


def test_the_json_holds_everything(written):
    facts = json.loads((written / "report.json").read_text(encoding="utf-8"))
    assert facts["kind"] == "kzoo-demo" and facts["finished"] is True
    assert facts["scores"][0] == {
        "name": "adapter", "accuracy": 0.8125, "macro_f1": 0.7987, "remark": "epoch 2 of 3",
    }  # fmt: skip
    assert facts["confusion"] == [[20, 1, 2], [3, 24, 0], [0, 4, 24]]
    assert facts["answers"][0]["hits"][0]["document_id"] == "io.open"
    assert facts["models"][2]["texts_per_second"] is None
    assert sorted(p.name for p in written.iterdir()) == [
        "confusion_matrix.png", "learning_curve.png", "report.html", "report.json",
    ]  # fmt: skip


def test_verdict_in_plain_words():
    tfidf, majority = Verdict("TF-IDF", 0.03, 0.01), Verdict("majority", 0.6, 0.02)
    assert finished_run(verdicts=[tfidf, majority]).verdict.startswith(
        "The adapter beats TF-IDF and majority: +3.0 ± 1.0 points against TF-IDF; +60.0"
    )
    worse = finished_run(verdicts=[Verdict("TF-IDF", -0.01, 0.01), majority])
    assert worse.verdict.startswith(
        "The adapter beats majority, but does NOT beat TF-IDF: -1.0 ± 1.0 points against TF-IDF, "
        "which is within chance; +60.0"
    )
    equal = finished_run(verdicts=[Verdict("TF-IDF", 0.0, 0.01), Verdict("majority", -0.1, 0.01)])
    assert equal.verdict.startswith("The adapter does NOT beat TF-IDF or majority: +0.0")
    assert 'class="verdict no"' in render(worse, b"", b"")
    assert 'class="verdict"' in render(finished_run(), b"", b"")


def test_relative_numbers_of_the_models():
    rows = dict(model_rows(finished_run().models))
    assert rows["texts a second"] == ["40", "100 (2.5 times)", "as the other student"]
    assert rows["accuracy kept"] == ["100.0%", "95.0%", "90.0%"]


def pixels(png):
    from matplotlib.image import imread

    return imread(io.BytesIO(png))[..., :3]


def test_plots_are_pictures_and_the_same_every_time():
    run = finished_run()
    curve = plots.learning_curve(run.history, run.best_epoch)
    assert curve == plots.learning_curve(run.history, run.best_epoch)
    matrix = plots.confusion_matrix(run.confusion, LABELS)
    for png in (curve, matrix):
        assert png.startswith(b"\x89PNG") and pixels(png).std() > 0.05
    # One epoch, and a class that the test split does not have.
    plots.learning_curve({key: values[:1] for key, values in run.history.items()}, 1)
    plots.confusion_matrix([[0, 0], [1, 2]], ["a", "b"])


def test_the_diagonal_of_a_perfect_matrix_is_dark():
    dark = [
        np.mean(np.all(np.abs(pixels(plots.confusion_matrix(m, ["a", "b"])) - blue) < 0.03, -1))
        for m in ([[9, 0], [0, 9]], [[9, 0], [5, 4]])
        for blue in [np.array([8, 48, 107]) / 255]  # the darkest of "Blues"
    ]
    assert dark[0] > 1.5 * dark[1] > 0


def test_console_tables(capsys):
    from rich.console import Console

    console = Console(width=160)
    run = finished_run()
    console.print(scores_table(run.scores))
    console.print(models_table(run.models))
    print_answers(console, run.answers)
    shown = capsys.readouterr().out
    for text in ("81.2%", "0.741", "22,830,876", "100 (2.5 times)", "io.open", "17 to 420"):
        assert text in shown
    assert NASTY in shown and "no passage" in shown
    assert re.search(r"0\.71 +io\.open", shown)


def test_snippet_ends_at_a_word():
    assert snippet("  short ", 20) == "short"
    assert snippet("alpha beta gamma", 12) == "alpha beta …"
    assert snippet("x" * 30, 10) == "x" * 10 + " …"  # no word ends in time
