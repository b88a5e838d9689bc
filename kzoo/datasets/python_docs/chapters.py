"""Which chapter of the Python library reference describes which module.

Facts taken from the table of contents of the library reference (Python 3.11 to 3.14). Chapters
with few documents are joined with a neighbour, so that a class can be learnt and measured.
"""

from __future__ import annotations

# The longest dotted prefix of a module decides: "xml.sax.handler" is found under "xml".
CHAPTERS: dict[str, str] = {
    "Text and Binary Data Processing": """
        string re difflib textwrap unicodedata stringprep rlcompleter struct codecs""",
    "Built-in and Data Types": """
        builtins datetime zoneinfo calendar collections heapq bisect array weakref types copy
        pprint reprlib enum graphlib""",
    "Numeric, Mathematical and Functional Programming": """
        numbers math cmath decimal fractions random statistics itertools functools operator""",
    "Files, Persistence, Compression and Formats": """
        pathlib os.path fileinput stat filecmp tempfile glob fnmatch linecache shutil pickle copyreg
        shelve marshal dbm sqlite3 zlib gzip bz2 lzma zipfile tarfile compression csv configparser
        tomllib netrc plistlib""",
    "Generic Operating System Services": """
        os io time argparse optparse getopt logging getpass curses platform errno ctypes
        pwd grp termios tty pty fcntl resource syslog""",
    "Concurrent Execution": """
        threading multiprocessing concurrent subprocess sched queue contextvars""",
    "Networking and Interprocess Communication": """
        asyncio socket ssl select selectors signal mmap""",
    "Internet Data Handling": """
        email json mailbox mimetypes base64 binascii quopri""",
    "Structured Markup Processing Tools": """
        html xml""",
    "Internet Protocols and Support": """
        webbrowser wsgiref urllib http ftplib poplib imaplib smtplib uuid socketserver xmlrpc
        ipaddress""",
    "Development, Debugging and Profiling": """
        typing pydoc doctest unittest bdb faulthandler pdb profile cProfile pstats timeit trace
        tracemalloc""",
    "Runtime, Importing and Language Services": """
        sys sysconfig warnings dataclasses contextlib abc atexit traceback annotationlib
        __future__ gc inspect site code codeop zipimport pkgutil modulefinder runpy importlib ast
        symtable token tokenize keyword tabnanny pyclbr py_compile compileall dis pickletools""",
}

# Where the objects of a private module are public. Private modules that are not here are left out.
PUBLIC_HOME: dict[str, str] = {
    "_collections_abc": "collections.abc",
    "_pyrepl": "",
    "_strptime": "",
    "_weakrefset": "weakref",
    "concurrent.futures._base": "concurrent.futures",
    "genericpath": "os.path",
    "importlib._abc": "importlib.abc",
    "importlib._bootstrap_external": "importlib.machinery",
    "importlib.resources._common": "importlib.resources",
    "ntpath": "",
    "pathlib._local": "pathlib",
    "posixpath": "os.path",
}

# Compiled modules have no source to read, so these are imported and inspected. Each belongs to
# the interpreter itself and importing it does nothing but define names (readline is not here: it
# takes hold of the terminal). Value: its public module.
COMPILED: dict[str, str] = {
    "builtins": "builtins",
    "_asyncio": "asyncio",
    "_bisect": "bisect",
    "_bz2": "bz2",
    "_codecs": "codecs",
    "_collections": "collections",
    "_contextvars": "contextvars",
    "_csv": "csv",
    "_curses": "curses",
    "_datetime": "datetime",
    "_decimal": "decimal",
    "_functools": "functools",
    "_heapq": "heapq",
    "_io": "io",
    "_json": "json",
    "_lsprof": "cProfile",
    "_lzma": "lzma",
    "_operator": "operator",
    "_pickle": "pickle",
    "_queue": "queue",
    "_random": "random",
    "_signal": "signal",
    "_socket": "socket",
    "_sqlite3": "sqlite3",
    "_ssl": "ssl",
    "_struct": "struct",
    "_symtable": "symtable",
    "_thread": "threading",
    "_tracemalloc": "tracemalloc",
    "_weakref": "weakref",
    "_zoneinfo": "zoneinfo",
    "_elementtree": "xml.etree.ElementTree",
    "array": "array",
    "atexit": "atexit",
    "binascii": "binascii",
    "cmath": "cmath",
    "faulthandler": "faulthandler",
    "fcntl": "fcntl",
    "gc": "gc",
    "grp": "grp",
    "itertools": "itertools",
    "marshal": "marshal",
    "math": "math",
    "mmap": "mmap",
    "posix": "os",
    "nt": "os",
    "pwd": "pwd",
    "pyexpat": "xml.parsers.expat",
    "resource": "resource",
    "select": "select",
    "sys": "sys",
    "syslog": "syslog",
    "termios": "termios",
    "time": "time",
    "unicodedata": "unicodedata",
    "zlib": "zlib",
}

_CHAPTER_OF = {
    module: chapter for chapter, modules in CHAPTERS.items() for module in modules.split()
}


def chapter_of(module: str) -> str | None:
    """The chapter that describes a public module.

    Args:
        module: dotted name, such as ``"xml.sax.handler"``.

    Returns:
        The chapter, or None for a module of a chapter that is not part of the data set.
    """
    parts = module.split(".")
    for end in range(len(parts), 0, -1):
        chapter = _CHAPTER_OF.get(".".join(parts[:end]))
        if chapter:
            return chapter
    return None


def public_name(module: str) -> str | None:
    """The public name of a module file, None if its contents are nobody's public interface.

    Args:
        module: dotted name from the file's place, such as ``"importlib._abc"``.

    Returns:
        The public dotted name, or None.
    """
    if module in PUBLIC_HOME:
        return PUBLIC_HOME[module] or None
    private = any(part.startswith("_") and part != "__future__" for part in module.split("."))
    return None if private else module
