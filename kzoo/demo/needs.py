"""What has to be there before the first minute is spent."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from kzoo.errors import KzooError
from kzoo.files import write_text

KIND = "kzoo-demo"
REPORT = "report.json"
_EXTRAS = {"matplotlib": "matplotlib", "sklearn": "scikit-learn"}


def check_needs(out: Path) -> None:
    """Refuses to start without the libraries of the extra `demo`, or with an unusable `out`.

    Raises:
        KzooError: Naming the command that helps, or the path.
    """
    absent = [name for module, name in _EXTRAS.items() if find_spec(module) is None]
    if absent:
        raise KzooError(f'The demo needs {" and ".join(absent)}. Run: pip install "kzoo[demo]"')
    file = next((part for part in (out, *out.parents) if part.exists() and not part.is_dir()), None)
    if file is not None:
        raise KzooError(f"`out` {str(out)!r}: {file} is a file; give a folder.")
    # Folders in it are replaced as a whole, so it must not be somebody's home.
    if out.is_dir() and any(out.iterdir()) and not _is_demo(out):
        raise KzooError(
            f"`out` {str(out)!r} holds something else than an earlier run of the demo; "
            "give a new folder."
        )


def begin(out: Path) -> None:
    """Makes the folder this run's own: the report of an earlier one would belie its models.

    Raises:
        KzooError: The folder cannot be written.
    """
    try:
        write_text(out / REPORT, json.dumps({"kind": KIND, "finished": False}) + "\n")
        for name in ("report.html", "learning_curve.png", "confusion_matrix.png"):
            (out / name).unlink(missing_ok=True)
    except OSError as error:
        raise KzooError(f"`out` {str(out)!r} cannot be written: {error.strerror}") from error


def _is_demo(out: Path) -> bool:
    try:
        facts = json.loads((out / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(facts, dict) and facts.get("kind") == KIND


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Holds back what native code writes to standard error; shows it where the block fails.

    TensorFlow logs some lines while it is imported, before any log level counts.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except BaseException:
            hidden.seek(0)
            os.write(kept, hidden.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
