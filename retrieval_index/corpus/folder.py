"""A folder of text files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from retrieval_index.corpus.document import Document, Entry
from retrieval_index.corpus.problem_log import ProblemLog
from retrieval_index.corpus.records import to_document
from retrieval_index.errors import CorpusError

SUFFIXES = frozenset({".txt", ".md"})
MARKDOWN_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(.+?)[ \t#]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class FolderCorpus:
    """All .txt and .md files under a folder, sorted by path; the id is the relative path.

    Hidden files and folders (with a leading dot) are no part of the corpus. The title of a Markdown
    file is its first heading; a .txt file has none. Line ends become `\\n`.
    """

    path: Path

    @property
    def description(self) -> str:
        """What is read, for reports."""
        return f"{self.path}{os.sep}**{os.sep}*.{{md,txt}}"

    def read(self, log: ProblemLog) -> Iterator[Entry]:
        """Yields one document a file; files that are not UTF-8 go to the log.

        Raises:
            CorpusError: If a file or folder cannot be read (always), or a file is unusable (when
                the log is strict).
        """
        for path in self._files(log):
            where = path.relative_to(self.path).as_posix()
            try:
                text = path.read_text(encoding="utf-8-sig")
            except UnicodeDecodeError as error:
                bad = error.object[error.start]
                log.add("not_utf8", where, f"byte 0x{bad:02x} at {error.start} is not UTF-8")
                continue
            except OSError as error:
                raise CorpusError(f"`corpus` file {path} cannot be read: {error}.") from error
            heading = MARKDOWN_HEADING.search(text) if path.suffix.lower() == ".md" else None
            title = heading.group(1) if heading else ""
            document = to_document(Document(where, text, title, {"path": where}), where, log)
            if document is not None:
                yield Entry(document, where)

    def _files(self, log: ProblemLog) -> Iterator[Path]:
        def refuse(error: OSError) -> None:
            raise CorpusError(f"`corpus` folder cannot be read: {error}.") from error

        # Only one folder's names are held at a time. Sorting each level makes the order the same on
        # every machine; links to folders are not followed, as they may form a circle.
        for folder, subfolders, names in os.walk(self.path, onerror=refuse):
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            for name in sorted(names):
                path = Path(folder, name)
                if name.startswith("."):
                    continue
                if path.suffix.lower() in SUFFIXES:
                    yield path
                else:
                    log.ignore_file(path.suffix.lower())
