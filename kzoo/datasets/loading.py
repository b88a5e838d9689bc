"""`load`: one function for registered names, files, folders and TensorFlow Datasets names."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import overload

from kzoo.datasets.annotated import TASKS, load_annotated
from kzoo.datasets.columns import Options
from kzoo.datasets.dataset import Dataset
from kzoo.datasets.files import load_path
from kzoo.datasets.registry import labelled as registered
from kzoo.datasets.rows import SUFFIXES
from kzoo.datasets.split import Split
from kzoo.datasets.tfds_source import load_tfds
from kzoo.errors import DatasetError


@overload
def load(
    name_or_path: str | Path,
    *,
    split: None = None,
    text_column: str | None = ...,
    pair_column: str | None = ...,
    label_column: str | None = ...,
    labelled: bool = ...,
    task: str | None = ...,
    label_separator: str = ...,
    allow_unseen_labels: bool = ...,
    strict: bool = ...,
    seed: int = ...,
    validation_fraction: float = ...,
    encoding: str = ...,
    columns: Sequence[str] | None = ...,
    quoting: bool | None = ...,
    data_dir: str | Path | None = ...,
    download: bool = ...,
) -> Dataset: ...
@overload
def load(
    name_or_path: str | Path,
    *,
    split: str,
    text_column: str | None = ...,
    pair_column: str | None = ...,
    label_column: str | None = ...,
    labelled: bool = ...,
    task: str | None = ...,
    label_separator: str = ...,
    allow_unseen_labels: bool = ...,
    strict: bool = ...,
    seed: int = ...,
    validation_fraction: float = ...,
    encoding: str = ...,
    columns: Sequence[str] | None = ...,
    quoting: bool | None = ...,
    data_dir: str | Path | None = ...,
    download: bool = ...,
) -> Split: ...
def load(
    name_or_path: str | Path,
    *,
    split: str | None = None,
    text_column: str | None = None,
    pair_column: str | None = None,
    label_column: str | None = None,
    labelled: bool = True,
    task: str | None = None,
    label_separator: str = "|",
    allow_unseen_labels: bool = False,
    strict: bool = False,
    seed: int = 0,
    validation_fraction: float = 0.0,
    encoding: str = "utf-8",
    columns: Sequence[str] | None = None,
    quoting: bool | None = None,
    data_dir: str | Path | None = None,
    download: bool = True,
) -> Dataset | Split:
    """Load a labelled text data set.

    Args:
        name_or_path: a registered name (see `list`), a ``.jsonl``, ``.csv``, ``.tsv`` (each also
            ``.gz``) or ``.parquet`` file, which becomes the split ``train``, a folder with
            ``train.*``, ``validation.*`` (or ``dev.*``, ``val.*``) and ``test.*``, or a TensorFlow
            Datasets name such as ``"glue/mrpc"``. Of annotated texts see `task`.
        split: return only this split. ``dev`` and ``val`` mean ``validation``. Default: all.
        text_column: column of the text. Default: found by its name (``text``, ``sentence``, ...),
            or by its type in TensorFlow Datasets.
        pair_column: column of the second text. Default: found by names that go together
            (``sentence1`` and ``sentence2``, ``premise`` and ``hypothesis``, ...), unless
            `text_column` is given: then none.
        label_column: column of the label. Default: found by its name (``label``, ``intent``, ...).
        labelled: False if there are no labels. Default True.
        task: ``"classification"``, ``"regression"`` or ``"multilabel"`` (any number of labels a
            row, also none). Default: regression for fractions and for columns that are called a
            score, multilabel for lists. ``"tag"`` reads words with tags, from ``.conll`` (also
            ``.txt``, ``.bio``, ``.iob2``) files with columns between blanks, where `text_column`
            and `label_column` are numbers (default 0 and -1, the last), from columns ``tokens`` and
            ``tags``, and from folders ``train``, ``valid`` and ``test`` with ``seq.in`` and
            ``seq.out``; or texts with ``entities``, lists of ``{"start", "end", "label"}`` in
            characters. ``"span"`` reads questions with answers, from ``.json`` files of SQuAD 1.1
            or 2.0 and from columns ``question``, ``context`` and ``answers``. ``"rank"`` reads a
            ``query``, a list of ``passages`` and the ``relevance`` of each (or one ``passage`` a
            row), ``"choose"`` a ``context``, a list of ``choices`` and the ``label``, the number
            from 0 of the right one, both from ``.jsonl`` and ``.parquet``.
        label_separator: between several labels in one string, which may also be a JSON list.
            Default ``"|"``.
        allow_unseen_labels: accept classes that ``train`` does not have. Default False.
        strict: refuse the first row that cannot be used instead of counting it. Default False.
        seed: seed of `validation_fraction`. Default 0.
        validation_fraction: part of ``train`` to move to a ``validation`` split. Default 0.
        encoding: encoding of text files. Default ``"utf-8"``, with or without a byte-order mark.
        columns: column names of CSV and TSV files without a header line.
        quoting: whether quotation marks enclose fields. Default: in CSV yes, in TSV no.
        data_dir: folder of prepared TensorFlow Datasets. Default: theirs.
        download: whether TensorFlow Datasets may fetch what is not prepared. Default True.

    Returns:
        A `Dataset`, or a `Split` if `split` is given.

    Raises:
        DatasetError: for a name or file that does not exist, an option that the source does not
            understand, columns that are missing or ambiguous, text that is not in `encoding`, no
            usable row, a label outside ``train``, or a bad row if `strict`.
    """
    options = Options(
        text_column=text_column,
        pair_column=pair_column,
        label_column=label_column,
        labelled=labelled,
        task=task,
        label_separator=label_separator,
        allow_unseen_labels=allow_unseen_labels,
        strict=strict,
        encoding=encoding,
        columns=columns,
        quoting=quoting,
        data_dir=data_dir,
        download=download,
    )
    dataset = _load(name_or_path, options)
    if validation_fraction:
        dataset = dataset.with_validation(validation_fraction, seed)
    return dataset if split is None else dataset[split]


def _load(name_or_path: str | Path, options: Options) -> Dataset:
    name = str(name_or_path)
    known = registered()
    if name in known:
        # A data set that is made, not read: there is nothing to choose and no row to refuse.
        options.refuse_others(("strict",), f"the dataset {name!r}")
        return known[name]()
    path = Path(name_or_path).expanduser()
    if path.exists():
        read = load_annotated if options.task in TASKS else load_path
        return read(path, options)
    if isinstance(name_or_path, Path) or name.lower().endswith(SUFFIXES) or name[:1] in "./~":
        raise DatasetError(
            f"`name_or_path` {name!r} does not exist; give an existing file or folder"
        )
    close = difflib.get_close_matches(name, known, n=1)
    return load_tfds(name, options, f"; did you mean {close[0]!r}?" if close else "")
