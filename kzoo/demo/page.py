"""Pieces of HTML; every text goes through `text`, so that none of it can become markup."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

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
