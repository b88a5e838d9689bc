"""From an exception to one line and an exit code."""

from __future__ import annotations

import os
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

# Arguments of the Python functions that are options here, as errors name them.
_OPTIONS = (
    *("batch_size", "chunk_size", "encoder", "encoding", "epochs", "jit", "label_column"),
    *("label_separator", "tune_thresholds"),
    *("learning_rate", "max_tokens", "metric", "overlap", "overwrite", "pair_column", "patience"),
    *("resume", "seed", "split", "strict", "take", "temperature", "text_column", "to"),
)
# Those of `kzoo index`; elsewhere words like `test` and `mode` mean other things.
_INDEX_OPTIONS = (
    *("b", "chunking", "deletes", "depth", "duplicates", "format", "fusion", "k1", "language"),
    *("latency", "memory", "metrics", "missing", "mode", "normalize", "per_document", "plot"),
    *("qrels", "queries", "recall", "reproducible", "require_ids", "rerank", "run_file"),
    *("shard_id", "shard_num", "shard_size", "snapshot", "test", "weights", "where"),
)
_RENAMED = {
    **{"fields": "--field", "factory": "--index", "index": "--index", "k": "-k"},
    **{"method": "--chunking", "path": "PATH", "paths": "PATH", "corpus": "CORPUS"},
}


def _pattern(names: Iterable[str]) -> re.Pattern[str]:
    return re.compile(rf"(?<!Did you mean )`({'|'.join(names)})(?:=([^`]*))?`")


_FLAG = _pattern(_OPTIONS)
_INDEX_FLAG = _pattern((*_OPTIONS, *_INDEX_OPTIONS, *_RENAMED))
_COMMAND = re.compile(r"`retrieval_index\.(build|add|merge)(?:\([^`]*\))?`")


class Stopped(Exception):
    """Ctrl-C; the message says what was kept."""


def report(error: BaseException, debug: bool) -> int:
    """Prints an error to standard error and returns the exit code.

    Args:
        error: What ended the command.
        debug: Show the stack trace too.
    """
    if isinstance(error, Stopped):
        _line("interrupted", str(error).removeprefix("interrupted").lstrip(" ;:") or "nothing kept")
        return 130
    if debug:
        traceback.print_exception(error)
    if hasattr(error, "format_message"):  # typer: a wrong command line
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message(), file=sys.stderr)
            return 2
        _line("error", f"{_sentence(error.format_message())} {_help(error)}")
        return 2
    if _is_usage(error):
        _line("error", in_words_of_the_shell(str(error), _is_of_index(error)))
        return 2
    if isinstance(error, OSError):
        what = f"{error.filename!r}: " if error.filename else ""
        _line("error", f"{what}{error.strerror or error}")
        return 2
    hint = "" if debug else " Run again with --debug for the stack trace, and please report it."
    _line("error", _sentence(f"{type(error).__name__}: {error}") + hint)
    return 1


def in_words_of_the_shell(message: str, of_index: bool = False) -> str:
    """Names options as the shell does: `` `text_column` `` becomes `--text-column`.

    Args:
        message: What the library says.
        of_index: Whether that is `retrieval_index`, whose arguments are options of `kzoo index`.
    """
    message = message.replace("`name_or_path` ", "").replace("`out` ", "")
    # Here the recipe says which task it is.
    for task, what in (("classification", "classes"), ("multilabel", "label sets")):
        message = message.replace(f"give `task='{task}'`", f"take a recipe that ends in {what}")
    if not of_index:
        return _FLAG.sub(_as_option, message)
    message = message.replace("fields={'text': 'NAME'}", "--field text=NAME")
    return _INDEX_FLAG.sub(_as_option, _COMMAND.sub(r"`kzoo index \1`", message))


def _as_option(found: re.Match[str]) -> str:
    name, value = found[1], found[2]
    option = _RENAMED.get(name, f"--{name.replace('_', '-')}")
    if value in (None, "", "True", "..."):
        return option
    return f"no {option}" if value == "False" else f"{option} {value.strip(chr(39))}"


def _is_of_index(error: BaseException) -> bool:
    return type(error).__module__.split(".")[0] == "retrieval_index"


def _is_usage(error: BaseException) -> bool:
    from kzoo.errors import DatasetError, KzooError
    from retrieval_index.errors import RetrievalIndexError

    return isinstance(error, (KzooError, DatasetError, RetrievalIndexError))


def _help(error: Any) -> str:
    context = getattr(error, "ctx", None)
    return f"See: {context.command_path} --help" if context is not None else ""


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _line(kind: str, text: str) -> None:
    print(f"{kind}: {' '.join(text.split())}", file=sys.stderr)


@contextmanager
def short_warnings() -> Iterator[None]:
    """Prints kzoo's own warnings as one line; all others as Python does."""
    usual = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        package = category.__module__.split(".")[0]
        if package in ("kzoo", "retrieval_index"):
            of_index = package == "retrieval_index"
            _line("warning", in_words_of_the_shell(str(message), of_index))
        else:
            usual(message, category, filename, lineno, file, line)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


# Written before TensorFlow reads TF_CPP_MIN_LOG_LEVEL, so that no setting hides them.
_CHATTER = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog|I\d{4} |W\d{4} "
    rb"|E\d{4} .*(cuda|cuInit|cudart|cudnn|cublas|cufft)"
)


@contextmanager
def no_chatter() -> Iterator[None]:
    """Filters what native code writes to standard error; Python's own stream is not filtered.

    Information and warnings, and errors about an absent GPU, are dropped line by line; everything
    else is passed on. `--debug` does without, for the rare crash inside TensorFlow.
    """
    sys.stderr.flush()
    before = sys.stderr
    real = os.dup(2)
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    os.close(writing)
    sys.stderr = os.fdopen(os.dup(real), "w", buffering=1, errors="backslashreplace")
    thread = threading.Thread(target=_pass_on, args=(reading, real), daemon=True)
    thread.start()
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stderr = before
        os.dup2(real, 2)  # closes the pipe, which ends the thread
        thread.join(timeout=1)


def _pass_on(reading: int, real: int) -> None:
    with os.fdopen(reading, "rb") as lines:
        for line in lines:
            if not _CHATTER.match(line):
                os.write(real, line)
