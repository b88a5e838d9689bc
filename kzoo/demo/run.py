"""The demo, step by step."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.markup import escape

from kzoo.datasets import Dataset
from kzoo.demo import baselines
from kzoo.demo import console as tables
from kzoo.demo.console import Clock, clock_time
from kzoo.demo.questions import ask, build_index, class_ids, documents, load_data
from kzoo.demo.report import write_report
from kzoo.demo.results import ModelFacts, Results, Score, environment
from kzoo.demo.settings import Settings
from kzoo.demo.training import (
    distil,
    fit_adapter,
    fit_student,
    folder_megabytes,
    load_adapter,
    load_student,
    save_model,
    texts_per_second,
)
from kzoo.metrics import confusion_matrix

_STEPS = 6


def run_demo(settings: Settings, out: Path, console: Console) -> Results:
    """Runs all steps and writes the report.

    Args:
        settings: The numbers.
        out: Existing folder for models, index and report; its files of an earlier run are replaced.
        console: Where to say what happens.

    Returns:
        What the report shows.
    """
    run = _Run(settings, out, console)
    run.load()
    run.fit()
    run.compare()
    run.distil()
    run.index()
    run.report()
    return run.results


class _Run:
    """The steps, and what one hands to the next."""

    def __init__(self, settings: Settings, out: Path, console: Console) -> None:
        self.settings, self.out, self.console = settings, out, console
        self.clock = Clock(console, _STEPS)
        self.results = Results(
            quick=settings.quick, environment=environment(), settings=asdict(settings)
        )
        keras.utils.set_random_seed(settings.seed)

    def load(self) -> None:
        """The documents and the untrained adapter."""
        with self.clock.step("load", "Load the documents and bert-adapter from the zoo"):
            self.data, note = load_data(self.settings.rows, self.settings.seed)
            self.model = load_adapter(self.data, self.settings)
            if self.settings.quick:
                self._note("A short run (--quick): fewer rows and epochs, a smaller index.")
            if note:
                self._note(note)
            self._note(f"Texts are cut after {self.settings.max_tokens} tokens for training.")
            self.results.labels = list(self.data.label_names or [])
            self.results.counts = {name: len(split) for name, split in self.data.items()}
            _describe(self.console, self.data, self.model)

    def fit(self) -> None:
        """The adapter and the head learn; the trunk does not."""
        with self.clock.step("fit", "Fit the adapter: model.fit on raw strings"):
            history, best = fit_adapter(self.model, self.data, self.console)
            self.results.history, self.results.best_epoch = history, best
            self.console.print(
                f"kept: epoch {best}, validation accuracy {max(history['val_accuracy']):.1%}",
                highlight=False,
            )
            self.megabytes = save_model(self.model, self.out / "classifier")
            name = self.model.adapters.active[0]
            self.model.adapters.save(name, self.out / "adapter")
            size = folder_megabytes(self.out / "adapter")
            self.console.print(
                f"saved: {escape(str(self.out / 'classifier'))} ({self.megabytes:.0f} MB), the "
                f"adapter and head alone in {escape(str(self.out / 'adapter'))} ({size:.2f} MB)",
                highlight=False,
            )

    def compare(self) -> None:
        """The adapter against two baselines, on test texts nobody looked at before."""
        with self.clock.step("compare", "Compare with two baselines on the test split"):
            self.true = class_ids(self.data["test"])
            predicted = self._predict(self.model)
            found = [baselines.tfidf(self.data), baselines.majority(self.data)]
            self.results.scores = [
                baselines.score(
                    "adapter",
                    self.true,
                    predicted,
                    f"epoch {self.results.best_epoch} of "
                    f"{len(self.results.history['loss'])}, chosen on the validation split",
                ),
                *(baselines.score(b.name, self.true, b.predicted, b.remark) for b in found),
            ]
            self.results.verdicts = [baselines.compare(self.true, predicted, b) for b in found]
            size = len(self.results.labels)
            self.results.confusion = confusion_matrix(self.true, predicted, size).tolist()
            self.console.print(tables.scores_table(self.results.scores))
            self.console.print(f"[bold]{escape(self.results.verdict)}[/]", highlight=False)

    def distil(self) -> None:
        """The adapter teaches two blocks of the trunk what it learned."""
        with self.clock.step("distil", "Distil it into bert-tiny-student"):
            # Its facts first: the Distiller freezes it as a whole.
            teacher = _facts(
                "teacher: bert-adapter", self.model, self.megabytes, self.results.scores[0], None
            )
            alone = None
            if self.settings.student_alone:
                alone = load_student(self.data, self.settings)
                fit_student(alone, self.data, self.console)
            student = load_student(self.data, self.settings)
            distil(self.model, student, self.data, self.settings, self.console)
            size = save_model(student, self.out / "student")
            test = self.data["test"]
            texts = test.take(min(len(test), self.settings.speed_texts), seed=self.settings.seed)
            speed = texts_per_second(
                {"teacher": self.model, "student": student}, texts.texts, self.settings.speed_rounds
            )
            self.results.models = [
                replace(teacher, texts_per_second=speed["teacher"]),
                _facts("student, distilled", student, size, self._score(student),
                       speed["student"]),
            ]  # fmt: skip
            if alone is not None:
                facts = _facts("student, labels only", alone, size, self._score(alone), None)
                self.results.models.append(facts)
            self.console.print(tables.models_table(self.results.models))

    def index(self) -> None:
        """An index of the documentation answers questions."""
        with self.clock.step("index", "Index the Python documentation and ask five questions"):
            settings = self.settings
            if settings.modules is not None:
                self._note(
                    "Only the help topics and the documents of these modules are indexed: "
                    + ", ".join(settings.modules) + "."
                )  # fmt: skip
            self._note(
                f"Documents are indexed up to their character {settings.document_characters:,}."
            )
            docs = documents(settings.modules, settings.document_characters)
            with build_index(docs, self.out / "index", self.console.is_terminal) as index:
                info = index.info()
                self.results.index = {
                    "documents": info["documents"],
                    "chunks": info["chunks"],
                    "encoder": info["encoder"]["name"],
                    "megabytes": info["size_bytes"] / 1e6,
                }
                self.console.print(
                    f"{info['documents']:,} documents, {info['chunks']:,} passages",
                    highlight=False,
                )
                self.results.answers = ask(index)
            tables.print_answers(self.console, self.results.answers)

    def report(self) -> None:
        """The page, and what to do now."""
        with self.clock.step("report", "Write the report"):
            self.results.next_commands = next_commands(self.out)
            self.results.seconds = dict(self.clock.seconds)
            self.results.cpu_seconds = dict(self.clock.cpu_seconds)
            page = write_report(self.results, self.out)
            self.console.print(f"[bold]{escape(str(page))}[/]", highlight=False)
        total = clock_time(self.clock.elapsed)
        self.console.print(f"\nAll took {total} minutes. What to try next:", highlight=False)
        for command in self.results.next_commands:
            self.console.print(f"  {escape(command)}", highlight=False, soft_wrap=True)

    def _note(self, sentence: str) -> None:
        self.results.notes.append(sentence)
        self.console.print(escape(sentence), highlight=False)

    def _predict(self, model: Any) -> Any:
        return np.argmax(model.predict(self.data["test"].inputs, verbose=0), axis=-1)

    def _score(self, model: Any) -> Score:
        return baselines.score("", self.true, self._predict(model))


def next_commands(out: Path) -> list[str]:
    """Three commands that go on from here."""
    return [
        f'kzoo predict {out / "classifier"} "Return a list of the entries of a directory."',
        f'kzoo index search {out / "index"} "How do I sort a list of numbers?"',
        f"kzoo train bert-lora python-docs --out {out.parent / 'lora'}",
    ]


def _facts(name: str, model: Any, size: float, score: Score, speed: float | None) -> ModelFacts:
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    return ModelFacts(
        name, model.count_params(), trainable, size, speed, score.accuracy, score.macro_f1
    )


def _describe(console: Console, data: Dataset, model: Any) -> None:
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    total = model.count_params()
    counts = ", ".join(f"{len(split):,} {name}" for name, split in data.items())
    console.print(
        f"documents: docstrings of the {data.card.source}; {counts}; "
        f"{data.num_classes} chapters of the library reference",
        highlight=False,
    )
    console.print(
        f"model: {total:,} parameters, of which {trainable:,} ({trainable / total:.1%}) are "
        "trained: adapter and head",
        highlight=False,
    )
