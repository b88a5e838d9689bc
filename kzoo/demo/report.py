"""The report: one HTML page, the numbers as JSON, the pictures as files."""

from __future__ import annotations

import json
from pathlib import Path

from kzoo.demo import page, plots
from kzoo.demo.clock import clock_time
from kzoo.demo.console import model_rows
from kzoo.demo.files import write_bytes
from kzoo.demo.needs import KIND, REPORT
from kzoo.demo.page import text
from kzoo.demo.questions import snippet
from kzoo.demo.results import Answer, Results
from kzoo.files import write_text

_SNIPPET = 600


def write_report(results: Results, out: Path) -> Path:
    """Writes `report.html`, `report.json`, `learning_curve.png` and `confusion_matrix.png`.

    Args:
        results: What the run found out.
        out: An existing folder.

    Returns:
        The page.
    """
    curve = plots.learning_curve(results.history, results.best_epoch)
    matrix = plots.confusion_matrix(results.confusion, results.labels)
    write_bytes(out / "learning_curve.png", curve)
    write_bytes(out / "confusion_matrix.png", matrix)
    write_text(out / "report.html", render(results, curve, matrix))
    facts = {"kind": KIND, "finished": True, "verdict": results.verdict, **results.to_dict()}
    write_text(out / REPORT, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    return out / "report.html"


def render(results: Results, curve: bytes, matrix: bytes) -> str:
    """The page.

    Args:
        results: What the run found out.
        curve: PNG of the learning curve.
        matrix: PNG of the confusion matrix.
    """
    kind = "kzoo demo --quick" if results.quick else "kzoo demo"
    title = f"{kind}: an adapter, a student and an index for the Python documentation"
    rows = ", ".join(f"{n:,} {name}" for name, n in results.counts.items())
    body = [
        f"<h1>{text(title)}</h1>",
        f'<p class="quiet">{text(rows)} documents in {len(results.labels)} chapters.</p>',
        *_notes(results),
        "<h2>Is the adapter worth it?</h2>",
        *_scores(results),
        "<h2>How it learned</h2>",
        page.picture(curve, "Loss and accuracy after each epoch"),
        "<h2>Which chapters it mixes up</h2>",
        page.picture(matrix, "Confusion matrix of the test documents"),
        "<h2>Teacher and student</h2>",
        *_models(results),
        "<h2>Five questions to the index</h2>",
        f'<p class="quiet">{text(_index_line(results))}</p>',
        *(_answer(answer) for answer in results.answers),
        "<h2>What to try next</h2>",
        f"<pre>{text(chr(10).join(results.next_commands))}</pre>",
        "<h2>Where, and how long</h2>",
        _seconds(results),
        page.facts({**results.environment, **_settings(results)}),
    ]
    return page.page(title, body)


def _notes(results: Results) -> list[str]:
    if not results.notes:
        return []
    items = "\n".join(f"<li>{text(note)}</li>" for note in results.notes)
    return [f'<ul class="notes">\n{items}\n</ul>']


def _scores(results: Results) -> list[str]:
    rows = [
        (score.name, f"{score.accuracy:.1%}", f"{score.macro_f1:.3f}", score.remark)
        for score in results.scores
    ]
    kind = "verdict" if all(v.beaten for v in results.verdicts) else "verdict no"
    return [
        page.table(("on the test split", "accuracy", "macro-F1", "how"), rows, (1, 2)),
        f'<p class="{kind}">{text(results.verdict)}</p>',
    ]


def _models(results: Results) -> list[str]:
    if not results.models:
        return []
    head = ("", *(model.name for model in results.models))
    rows = [(title, *values) for title, values in model_rows(results.models)]
    columns = range(1, len(head))
    remark = (
        "Texts a second are medians of several rounds in which the models took turns, tokenising "
        "included. The word embeddings are most of the student and are as large as the teacher's."
    )
    return [page.table(head, rows, columns), f'<p class="quiet">{text(remark)}</p>']


def _index_line(results: Results) -> str:
    index = results.index
    if not index:
        return ""
    return (
        f"{index['documents']:,} documents in {index['chunks']:,} passages, encoder "
        f"{index['encoder']}, {index['megabytes']:.1f} MB. Scores are cosines."
    )


def _answer(answer: Answer) -> str:
    parts = [f'<div class="question">\n<h3>{text(answer.question)}</h3>']
    for place, hit in enumerate(answer.hits):
        where = f"{hit.document_id}, characters {hit.start} to {hit.end}, score {hit.score:.3f}"
        if place == 0:
            parts.append(f"<p>{text(where)}</p><pre>{text(snippet(hit.text, _SNIPPET))}</pre>")
        else:
            parts.append(f'<p class="quiet">then {text(where)}</p>')
    return "\n".join([*parts, "</div>"])


def _seconds(results: Results) -> str:
    cpu = results.cpu_seconds
    rows = [
        (step, f"{seconds:.1f}", f"{cpu[step]:.1f}") for step, seconds in results.seconds.items()
    ]
    total = sum(results.seconds.values())
    rows.append((f"all ({clock_time(total)} minutes)", f"{total:.1f}", f"{sum(cpu.values()):.1f}"))
    return page.table(("step", "seconds", "seconds of all cores together"), rows, (1, 2))


def _settings(results: Results) -> dict[str, str]:
    shown = {key: value for key, value in results.settings.items() if key != "quick"}
    return {
        "settings": ", ".join(
            f"{key}={', '.join(value) if isinstance(value, (list, tuple)) else value}"
            for key, value in shown.items()
        )
    }
