"""The report: one HTML page, the numbers as JSON, the pictures as files."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kzoo.demo import plots
from kzoo.demo.console import clock_time, model_rows
from kzoo.demo.needs import KIND, REPORT
from kzoo.demo.questions import snippet
from kzoo.demo.results import Answer, Results
from kzoo.files import write_bytes, write_text

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
        picture(curve, "Loss and accuracy after each epoch"),
        "<h2>Which chapters it mixes up</h2>",
        picture(matrix, "Confusion matrix of the test documents"),
        "<h2>Teacher and student</h2>",
        *_models(results),
        "<h2>Five questions to the index</h2>",
        f'<p class="quiet">{text(_index_line(results))}</p>',
        *(_answer(answer) for answer in results.answers),
        "<h2>What to try next</h2>",
        f"<pre>{text(chr(10).join(results.next_commands))}</pre>",
        "<h2>Where, and how long</h2>",
        _seconds(results),
        facts({**results.environment, **_settings(results)}),
    ]
    return page(title, body)


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
        table(("on the test split", "accuracy", "macro-F1", "how"), rows, (1, 2)),
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
    return [table(head, rows, columns), f'<p class="quiet">{text(remark)}</p>']


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
    return table(("step", "seconds", "seconds of all cores together"), rows, (1, 2))


def _settings(results: Results) -> dict[str, str]:
    shown = {key: value for key, value in results.settings.items() if key != "quick"}
    return {
        "settings": ", ".join(
            f"{key}={', '.join(value) if isinstance(value, (list, tuple)) else value}"
            for key, value in shown.items()
        )
    }


_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: #1c2430;
  background: #fff; max-width: 62rem; margin: 2.5rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; }
p { margin: .5rem 0; } .quiet { color: #5b6675; } .notes { padding-left: 1.2rem; }
.verdict { border-left: 4px solid #1f5fbf; background: #f2f6fc; padding: .7rem 1rem; }
.verdict.no { border-color: #b25c00; background: #fdf5ec; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .35rem .9rem .35rem 0; border-bottom: 1px solid #e4e7ec;
  vertical-align: top; }
th { font-weight: 600; } td.number, th.number { text-align: right; white-space: nowrap; }
img { max-width: 100%; height: auto; }
.question { margin: 1.4rem 0; } .question h3 { font-size: 1rem; margin: 0 0 .3rem; }
code, pre { font: .86rem/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre { background: #f6f7f9; padding: .7rem 1rem; border-radius: 4px; white-space: pre-wrap;
  overflow-wrap: anywhere; margin: .3rem 0; }
""".strip()


def text(value: object) -> str:
    """Escapes."""
    return html.escape(str(value), quote=True)


def page(title: str, body: Iterable[str]) -> str:
    """A whole page that asks nothing of the network."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def table(head: Sequence[object], rows: Iterable[Sequence[object]], numbers: Sequence[int]) -> str:
    """A table; `numbers` are the columns that stand at the right."""

    def cells(tag: str, row: Sequence[object]) -> str:
        return "".join(
            f"<{tag}{' class=number' if i in numbers else ''}>{text(value)}</{tag}>"
            for i, value in enumerate(row)
        )

    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table>\n<thead><tr>{cells("th", head)}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def facts(values: Mapping[str, Any]) -> str:
    """Names and values, in two columns."""
    rows = "\n".join(
        f"<tr><th>{text(key)}</th><td>{text(value)}</td></tr>" for key, value in values.items()
    )
    return f'<div class="scroll"><table>\n{rows}\n</table></div>'


def picture(png: bytes, description: str) -> str:
    """A PNG inside the page."""
    data = base64.b64encode(png).decode("ascii")
    return f'<img alt="{text(description)}" src="data:image/png;base64,{data}">'
