"""Small valid corpora of every format that `retrieval_index` reads, made in memory."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Callable, Sequence

RECORDS: list[dict[str, object]] = [
    {
        "id": f"d{number}",
        "title": f"Title {number}",
        "text": f"Text of document {number}, with ünïcode.\nSecond line & more <b>{number}</b>.",
        "year": 1990 + number,
        "score": number / 4,
    }
    for number in range(6)
]


def jsonl() -> bytes:
    """BEIR's layout."""
    return b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in RECORDS)


def json_array() -> bytes:
    """One array of objects."""
    return json.dumps(RECORDS, indent=1).encode()


def csv(encoding: str = "utf-8") -> bytes:
    """A header and quoted cells with line ends in them."""
    rows = [",".join(RECORDS[0])]
    rows += [",".join(f'"{value}"' for value in record.values()) for record in RECORDS]
    return "\r\n".join([*rows, ""]).encode(encoding)


def tsv() -> bytes:
    """A header and cells without line ends."""
    rows = ["\t".join(RECORDS[0])]
    rows += ["\t".join(str(v).replace("\n", " ") for v in record.values()) for record in RECORDS]
    return "\n".join([*rows, ""]).encode()


def trec() -> bytes:
    """Two text fields and a headline."""
    return "".join(
        f"<DOC>\n<DOCNO> {r['id']} </DOCNO>\n<HEADLINE>{r['title']}</HEADLINE>\n"
        f"<DATE>{r['year']}</DATE>\n<TEXT>\n<P>{r['text']}</P>\n</TEXT>\n<TEXT>More.</TEXT>\n</DOC>\n"
        for r in RECORDS
    ).encode()


def parquet(**options: object) -> bytes:
    """Strings, numbers, a list column and a struct; `options` go to the writer."""
    import pyarrow
    import pyarrow.parquet

    rows = [
        {**r, "tags": ["a", None, str(r["id"])], "more": {"x": i, "y": None}}
        for i, r in enumerate(RECORDS)
    ]
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), out, **options)
    return out.getvalue()


def markdown() -> bytes:
    """Headings and paragraphs."""
    return "Intro.\n\n## Ä heading ##\n\nBody *of* text.\n\n- one\n- two\n".encode()


def html() -> bytes:
    """A page with navigation, a script, a table and preformatted text."""
    return (
        '<!DOCTYPE html><html><head><meta charset="iso-8859-1"><title>Café &amp; more</title>'
        "<script>var x = '<p>';</script><style>p {}</style></head><body><nav>Home</nav>"
        "<!-- remark --><h1>Head</h1><p>First <b>bold</b> text.<br>Line.<p>Second &eacute;."
        "<table><tr><td>a<td>b</table><pre> x = 1\n  y</pre><![CDATA[z]]></body></html>"
    ).encode("iso-8859-1")


def pdf(pages: Sequence[str] = ("First page.", "Second page."), *, deflate: bool = False) -> bytes:
    """Pages of one line each in Helvetica, with a title and a table of cross-references.

    With `deflate`, contents are compressed, the font has a character map and the page is a form.
    """
    count = len(pages)
    kids = " ".join(f"{5 + 2 * i} 0 R" for i in range(count))
    cmap = (
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /A def "
        "1 begincodespacerange <00> <ff> endcodespacerange 1 beginbfrange <20> <7e> <0020> "
        "endbfrange 1 beginbfchar <41> <00410042> endbfchar endcmap end end"
    )
    map_number = 5 + 2 * count
    unicode_map = f" /ToUnicode {map_number} 0 R" if deflate else ""
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {count} >>",
        f"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica{unicode_map} >>",
        "<< /Title (A PDF title) /Producer (tests) >>",
    ]
    for index, text in enumerate(pages):
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 300] /Resources << /Font << /F 3 0 R "
            f">> >> /Contents {6 + 2 * index} 0 R >>"
        )
        objects.append(_stream(f"BT /F 12 Tf 20 200 Td ({text}) Tj ET", deflate))
    objects.append(_stream(cmap, deflate))
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{place:010d} 00000 n \n".encode() for place in places)
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R /Info 4 0 R >>\n".encode()
    return bytes(out + f"startxref\n{start}\n%%EOF\n".encode())


def _stream(text: str, deflate: bool) -> str:
    data = zlib.compress(text.encode()) if deflate else text.encode()
    filter_ = " /Filter /FlateDecode" if deflate else ""
    return f"<< /Length {len(data)}{filter_} >>\nstream\n{data.decode('latin-1')}\nendstream"


def pdf_object_streams() -> bytes:
    """Objects in compressed streams, as most programs write them today."""
    import pypdf

    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf(deflate=True)))
    writer.add_outline_item(title="One", page_number=0)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def pdf_encrypted(user_password: str = "") -> bytes:
    """RC4; with the empty user password, anybody may read it."""
    import pypdf

    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf()))
    writer.encrypt(user_password, "owner", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def zst(data: bytes) -> bytes:
    """Zstandard with a checksum."""
    import zstandard

    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


# Name of the file -> how its bytes are made, and how they are packed.
SAMPLES: dict[str, tuple[Callable[[], bytes], Callable[[bytes], bytes] | None]] = {
    "c.jsonl": (jsonl, None),
    "c.jsonl.gz": (jsonl, gzip.compress),
    "c.jsonl.zst": (jsonl, zst),
    "array.json": (json_array, None),
    "c.csv": (csv, None),
    "utf16.csv": (lambda: csv("utf-16"), None),
    "c.csv.gz": (csv, gzip.compress),
    "c.tsv": (tsv, None),
    "c.trec": (trec, None),
    "c.trec.zst": (trec, zst),
    "snappy.parquet": (parquet, None),
    "plain.parquet": (
        lambda: parquet(compression="NONE", use_dictionary=False, row_group_size=2),
        None,
    ),
    "c.parquet.gz": (lambda: parquet(compression="zstd", data_page_version="2.0"), gzip.compress),
    "a.txt": (markdown, None),
    "a.txt.zst": (markdown, zst),
    "a.md": (markdown, None),
    "a.html": (html, None),
    "a.html.gz": (html, gzip.compress),
    "a.pdf": (pdf, None),
    "deflate.pdf": (lambda: pdf(deflate=True), None),
    "streams.pdf": (pdf_object_streams, None),
    "locked.pdf": (pdf_encrypted, None),
}
