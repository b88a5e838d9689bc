"""Damaged corpora through the readers: only named errors and counted problems may come out.

    python benchmarks/fuzz_corpus.py [--cases 20000] [--seed 0] [--only a.pdf]

Takes a small valid corpus of every format, damages it (flipped bits, cut ends, pieces moved, taken
out or put in from other files, NUL bytes, huge numbers, deep nesting), and reads it through
`retrieval_index.corpus.opening.open_corpus`, all in one process, so that a crash of the interpreter
ends the run. Of compressed formats, half of the cases are damaged before they are packed. Case `n`
of a format and a seed is always the same, whatever else is run.

Outcomes: "clean" (all that was read makes documents), "counted" (the problem log has something),
"refused" (a `RetrievalIndexError`), "bad" (any other exception, or a document that no index could
hold). The exit status is 1 if there is a bad one, or one that took longer than `--slow` seconds.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from _corpus_samples import SAMPLES
from rich.console import Console
from rich.table import Table

from retrieval_index.corpus.document import Document, ProblemLog
from retrieval_index.corpus.opening import open_corpus
from retrieval_index.errors import RetrievalIndexError

OUTCOMES = ("clean", "counted", "refused", "bad")
HUGE = (
    b"9" * 30, b"-1", b"0", b"4294967295", b"2147483648", b"1e999", b"NaN", b"9" * 5000,
    b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"\xff" * 8, b"\x7f\xff\xff\xff\xff\xff\xff\xff",
)  # fmt: skip
TOKENS = (
    b"\x00", b"\x00" * 64, b'"', b"'", b"<", b">", b"</DOC>", b"<DOC>", b"&#x110000;", b"<![",
    b"[" * 3000, b'{"a":' * 3000, b"<div>" * 3000, b"(" * 3000, b"<< /A " * 2000, b"\xed\xa0\x80",
    b'"\\ud800"', b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n\n", b"\t", b",", b";", b"1 0 R",
    b"2 0 R", b"obj", b"endobj", b"stream\n", b"endstream", b"/Kids [2 0 R]", b"/Parent 5 0 R",
    b"PAR1", b"/Length 999999999", b"/Filter [/FlateDecode /FlateDecode]", b"<!",
    b"<a " * 3000, b"<!--" * 3000, b"<meta charset=utf-16>", b"<meta charset=hex>",
    b"/Predictor 15 /Columns 99999999",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> dict[str, Counter[str]]:
    """Runs the cases and prints the table; returns the outcomes by format."""
    options = parser().parse_args(argv)
    console = Console(width=100)
    names = [name for name in SAMPLES if options.only in (None, name)]
    began = time.perf_counter()
    faulthandler.enable(sys.__stderr__)
    outcomes, complaints, slowest = run(names, options.cases, options.seed, options.slow)
    table = Table("format", "cases", *OUTCOMES, "slowest s", title="Damaged corpora")
    for name in names:
        counts = outcomes[name]
        row = [str(counts.total()), *(str(counts[kind]) for kind in OUTCOMES)]
        table.add_row(name, *row, f"{slowest[name]:.2f}")
    total = sum(outcomes.values(), Counter())
    row = [str(total.total()), *(str(total[kind]) for kind in OUTCOMES)]
    table.add_row("all", *row, f"{max(slowest.values()):.2f}")
    console.print(table)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    console.print(
        f"{total.total()} cases, seed {options.seed}, {time.perf_counter() - began:.0f} s; "
        f"peak memory {peak:.0f} MiB"
    )
    for complaint in complaints[:40]:
        console.print(complaint, markup=False)
    if complaints and argv is None:
        sys.exit(1)
    return outcomes


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    made.add_argument("--cases", type=int, default=20_000, help="over all formats")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--only", choices=list(SAMPLES), help="one format")
    made.add_argument("--slow", type=float, default=20.0, help="seconds a case may take")
    return made


def run(
    names: Sequence[str], cases: int, seed: int, slow: float = 20.0
) -> tuple[dict[str, Counter[str]], list[str], dict[str, float]]:
    """Reads `cases` damaged files, taking the formats in turns.

    Returns:
        Outcomes by format, a line for each bad or slow case, and the longest time by format.
    """
    plain = {name: make() for name, (make, _) in SAMPLES.items()}
    others = list(plain.values())
    outcomes = {name: Counter[str]() for name in names}
    slowest = dict.fromkeys(names, 0.0)
    complaints = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(cases):
            case, turn = divmod(number, len(names))
            name = names[turn]
            random_ = random.Random(f"{seed} {name} {case}")
            path = Path(folder, name)
            path.write_bytes(damaged(plain[name], SAMPLES[name][1], others, random_))
            # A reader that never comes back ends the run, with its traceback.
            faulthandler.dump_traceback_later(10 * slow, exit=True, file=sys.__stderr__)
            began = time.perf_counter()
            outcome, detail = read(path)
            seconds = time.perf_counter() - began
            faulthandler.cancel_dump_traceback_later()
            outcomes[name][outcome] += 1
            slowest[name] = max(slowest[name], seconds)
            if outcome == "bad" or seconds > slow:
                complaints.append(f"{name} case {case}: {outcome} in {seconds:.1f} s: {detail}")
    return outcomes, complaints, slowest


def read(path: Path) -> tuple[str, str]:
    """Returns outcome and detail of reading one file."""
    log = ProblemLog()
    try:
        for entry in open_corpus(path).read(log):
            check(entry.document)
    except RetrievalIndexError as error:
        return "refused", str(error)
    except BaseException as error:  # also what is no Exception, such as pyo3's panics
        if isinstance(error, KeyboardInterrupt):
            raise
        return "bad", f"{type(error).__name__}: {str(error)[:200]}"
    return ("counted", log.summary()) if log.skipped else ("clean", "")


def check(document: Document) -> None:
    """Raises AssertionError for a document that an index could not hold."""
    assert document.id and isinstance(document.id, str), "no id"
    assert isinstance(document.text, str) and isinstance(document.title, str), "no text"
    assert document.text.strip() or document.title.strip(), "blank"
    f"{document.id}{document.title}{document.text}".encode()
    json.dumps(dict(document.metadata), allow_nan=False, ensure_ascii=False).encode()
    assert len(document.digest) == 16


def damaged(
    data: bytes,
    pack: Callable[[bytes], bytes] | None,
    others: Sequence[bytes],
    random_: random.Random,
) -> bytes:
    """Returns `data` with one to four defects, packed before or after."""
    before = pack is not None and random_.random() < 0.5
    changed = bytearray(data if pack is None or before else pack(data))
    for _ in range(random_.choice((1, 1, 2, 4))):
        # Half of them keep every other byte in its place: binary formats notice all else at once.
        defects = DEFECTS if random_.random() < 0.5 else (_flip, _overwrite)
        random_.choice(defects)(changed, others, random_)
    return pack(bytes(changed)) if pack is not None and before else bytes(changed)


def _flip(data: bytearray, others: Sequence[bytes], random_: random.Random) -> None:
    for _ in range(random_.choice((1, 1, 3, 16))):
        if data:
            data[random_.randrange(len(data))] ^= 1 << random_.randrange(8)


def _overwrite(data: bytearray, others: Sequence[bytes], random_: random.Random) -> None:
    at = random_.randrange(len(data) + 1)
    piece = random_.randbytes(random_.choice((1, 4, 32)))
    data[at : at + len(piece)] = piece


def _cut(data: bytearray, others: Sequence[bytes], random_: random.Random) -> None:
    del data[random_.randrange(len(data) + 1) :]


def _remove(data: bytearray, others: Sequence[bytes], random_: random.Random) -> None:
    at = random_.randrange(len(data) + 1)
    del data[at : at + random_.choice((1, 2, 16, 200))]


def _splice(data: bytearray, others: Sequence[bytes], random_: random.Random) -> None:
    other = random_.choice((*others, bytes(data)))
    begin = random_.randrange(len(other))
    at = random_.randrange(len(data) + 1)
    data[at:at] = other[begin : begin + random_.choice((4, 64, 2000))]


def _insert(data: bytearray, others: Sequence[bytes], random_: random.Random) -> None:
    at = random_.randrange(len(data) + 1)
    data[at:at] = random_.choice(TOKENS)


def _number(data: bytearray, others: Sequence[bytes], random_: random.Random) -> None:
    digits = [at for at, byte in enumerate(data) if 48 <= byte <= 57]
    at = random_.choice(digits) if digits else 0
    end = at
    while end < len(data) and 48 <= data[end] <= 57:
        end += 1
    data[at:end] = random_.choice(HUGE)


def _repeat(data: bytearray, others: Sequence[bytes], random_: random.Random) -> None:
    at = random_.randrange(len(data) + 1)
    piece = bytes(data[at : at + random_.choice((1, 8, 64))])
    data[at:at] = piece * random_.choice((2, 50, 1000))


DEFECTS = (_flip, _overwrite, _cut, _remove, _splice, _insert, _number, _repeat)

if __name__ == "__main__":
    main()
