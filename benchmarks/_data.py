"""Readers of the public benchmark files, as laid out in a folder that the caller names.

These are layouts of particular copies of the data and not a format, hence not in the package.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from kzoo.datasets import Card, Dataset, DatasetError, Split, load


def load_clinc150(root: str | Path, variant: str = "small") -> Dataset:
    """CLINC150 intents, the 150 in-scope ones.

    Args:
        root: folder that holds ``clinc150/``.
        variant: ``"small"`` (50 training rows a class) or ``"full"`` (100). Default ``"small"``.

    Returns:
        ``train`` (7,500 or 15,000), ``validation`` (3,000) and ``test`` (4,500).

    Raises:
        DatasetError: for another variant.
    """
    if variant not in ("small", "full"):
        raise DatasetError(f"`variant` must be 'small' or 'full', received {variant!r}")
    path = Path(root) / "clinc150" / f"data_{variant}.json"
    data = json.loads(path.read_text("utf-8"))
    rows = {name: data[key] for name, key in _CLINC_KEYS.items()}
    return _classes(
        f"clinc150-{variant}",
        {name: [text for text, _ in split] for name, split in rows.items()},
        {name: [intent for _, intent in split] for name, split in rows.items()},
        Card("User requests labelled with their intent.", "CC-BY-3.0", str(path)),
    )


_CLINC_KEYS = {"train": "train", "validation": "val", "test": "test"}


def load_mrpc(root: str | Path) -> Dataset:
    """Microsoft Research Paraphrase Corpus, with the development split of ``split_brmson``.

    Args:
        root: folder that holds ``mrpc/``.

    Returns:
        Pairs in ``train`` (3,576), ``validation`` (500) and ``test`` (1,725); class 1 is
        ``"equivalent"``.
    """
    folder = Path(root) / "mrpc" / "split_brmson"
    splits = {}
    for name, file in (("train", "train"), ("validation", "val"), ("test", "test")):
        rows = _tsv(folder / f"{file}.tsv", 5, header=True)
        splits[name] = Split(
            texts=[row[3] for row in rows],
            text_pairs=[row[4] for row in rows],
            labels=np.array([int(row[0]) for row in rows], dtype=np.int32),
            ids=[f"{row[1]}-{row[2]}" for row in rows],
            label_names=["not_equivalent", "equivalent"],
        )
    card = Card("Sentence pairs from news: paraphrase or not.", "MSR-SSLA", str(folder))
    return _dataset("mrpc", splits, ["not_equivalent", "equivalent"], card)


def load_sst2(root: str | Path) -> Dataset:
    """Stanford Sentiment Treebank, two classes, whole sentences.

    Args:
        root: folder that holds ``sst2/``.

    Returns:
        ``train`` (6,920), ``validation`` (872) and ``test`` (1,821); 0 is negative.
    """
    return load(Path(root) / "sst2", columns=["text", "label"], strict=True)


def load_trec(root: str | Path, fine: bool = False) -> Dataset:
    """TREC questions labelled with the kind of their answer.

    Args:
        root: folder that holds ``trec/``.
        fine: the fine classes instead of the 6 coarse ones. Default False.

    Returns:
        ``train`` (5,452) and ``test`` (500).
    """
    folder = Path(root) / "trec"
    texts, labels = {}, {}
    for name in ("train", "test"):
        # One question holds a Latin-1 byte; the others are ASCII.
        lines = (folder / f"TREC.{name}").read_text("latin-1").splitlines()
        rows = [line.split(" ", 1) for line in lines if line.strip()]
        texts[name] = [question for _, question in rows]
        labels[name] = [tag if fine else tag.partition(":")[0] for tag, _ in rows]
    card = Card("Questions labelled with the kind of their answer.", source=str(folder))
    return _classes("trec-fine" if fine else "trec", texts, labels, card)


def load_rte(root: str | Path) -> Dataset:
    """Recognizing Textual Entailment; the published development split is `test` here.

    Args:
        root: folder that holds ``rte/``.

    Returns:
        Pairs in ``train`` (2,127), ``validation`` (363 of the published training rows) and
        ``test`` (277).
    """
    folder = Path(root) / "rte"
    rows = {"train": _tsv(folder / "train.tsv", 4, header=True)}
    rows |= {"validation": _tsv(folder / "val.tsv", 4), "test": _tsv(folder / "dev.tsv", 4)}
    rows = {name: [row for row in split if row[0] != "index"] for name, split in rows.items()}
    names = ["entailment", "not_entailment"]
    splits = {
        name: Split(
            texts=[row[1] for row in split],
            text_pairs=[row[2] for row in split],
            labels=np.array([names.index(row[3]) for row in split], dtype=np.int32),
            label_names=names,
        )
        for name, split in rows.items()
    }
    card = Card("Sentence pairs: does the second follow from the first.", source=str(folder))
    return _dataset("rte", splits, names, card)


def load_label_first(root: str | Path, name: str) -> Dataset:
    """Customer reviews (``cr``) or SST-5 (``sst5``): a label, a blank, the text.

    Args:
        root: folder that holds ``cr/`` or ``sst5/``.
        name: which.

    Returns:
        ``cr``: 3,775 reviews of two classes, four fifths ``train`` and a tenth each ``validation``
        and ``test``, at random; ``sst5``: five classes in the published splits (8,544, 1,101,
        2,210).
    """
    folder = Path(root) / name
    files = {"train": "stsa.fine.train", "validation": "stsa.fine.dev", "test": "stsa.fine.test"}
    texts, labels = {}, {}
    for split, file in files.items() if name == "sst5" else [("train", "custrev.all")]:
        lines = (folder / file).read_bytes().splitlines()
        rows = [_decoded(line).split(" ", 1) for line in lines if line.strip()]
        labels[split], texts[split] = ([row[side] for row in rows] for side in (0, 1))
    if name == "cr":
        texts, labels = _parts(texts["train"], labels["train"])
    card = Card("Reviews with the sign or the degree of their sentiment.", source=str(folder))
    return _classes(name, texts, labels, card)


def load_agnews(root: str | Path) -> Dataset:
    """AG News, of which the published test split is at hand: parts of it, at random.

    Args:
        root: folder that holds ``agnews/``.

    Returns:
        Title and description with one of 4 classes: 6,080 rows ``train``, 760 ``validation``,
        760 ``test``.
    """
    path = Path(root) / "agnews" / "test.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    texts, labels = _parts([f"{row[1]}. {row[2]}" for row in rows], [row[0] for row in rows])
    return _classes("agnews", texts, labels, Card("News by their topic.", source=str(path)))


def _parts(
    texts: list[str], labels: list[str]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Four fifths, a tenth and a tenth of rows, in an order drawn from seed 0."""
    order = np.random.default_rng(0).permutation(len(texts))
    cut, last = int(0.8 * len(order)), int(0.9 * len(order))
    rows = {"train": order[:cut], "validation": order[cut:last], "test": order[last:]}
    return (
        {name: [texts[i] for i in own] for name, own in rows.items()},
        {name: [labels[i] for i in own] for name, own in rows.items()},
    )


def _decoded(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")


def load_stsb(root: str | Path) -> Dataset:
    """STS benchmark: sentence pairs with a similarity from 0 to 5.

    Args:
        root: folder that holds ``stsb/``.

    Returns:
        Scored pairs in ``train`` (5,749), ``validation`` (1,500) and ``test`` (1,379).
    """
    folder = Path(root) / "stsb"
    splits = {}
    for name, file in (("train", "train"), ("validation", "dev"), ("test", "test")):
        # Seven fields; some rows carry a source or two behind them.
        rows = _tsv(folder / f"sts-{file}.csv", 7, exact=False)
        splits[name] = Split(
            texts=[row[5] for row in rows],
            text_pairs=[row[6] for row in rows],
            labels=np.array([float(row[4]) for row in rows], dtype=np.float32),
        )
    card = Card("Sentence pairs with a similarity from 0 to 5.", "CC-BY-SA-4.0", str(folder))
    return _dataset("stsb", splits, None, card)


def _tsv(path: Path, width: int, *, header: bool = False, exact: bool = True) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    for number, row in enumerate(rows, 1):
        if len(row) < width or (exact and len(row) != width):
            raise DatasetError(f"{path}:{number}: {len(row)} fields, expected {width}")
    return rows[1:] if header else rows


def _classes(
    name: str, texts: dict[str, list[str]], labels: dict[str, list[str]], card: Card
) -> Dataset:
    names = sorted({label for split in labels.values() for label in split})
    ids = {label: i for i, label in enumerate(names)}
    splits = {
        key: Split(
            texts[key],
            labels=np.array([ids[label] for label in labels[key]], dtype=np.int32),
            label_names=names,
        )
        for key in texts
    }
    return _dataset(name, splits, names, card)


def _dataset(name: str, splits: dict[str, Split], names: list[str] | None, card: Card) -> Dataset:
    counts = {key: len(split) for key, split in splits.items()}
    return Dataset(name, splits, names, Card(card.description, card.license, card.source, counts))
