"""The package is cheap to import, and says what it has."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import retrieval_index

HEAVY = [
    "numpy",
    "faiss",
    "tensorflow",
    "keras",
    "torch",
    "sentence_transformers",
    "kzoo",
    "sqlite3",
]


def modules_after(code):
    script = f"{code}\nimport sys; print('\\n'.join(m for m in {HEAVY} if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_import_loads_nothing_heavy():
    assert modules_after("import retrieval_index") == []


def test_whole_use_loads_no_framework(tmp_path):
    code = (
        "import retrieval_index as r\n"
        f"r.build([('a', 'some text')], {str(tmp_path / 'i')!r}, 'hashing').search('text')"
    )
    assert modules_after(code) == ["numpy", "faiss", "sqlite3"]


def test_no_module_imports_upwards_or_pickles():
    for path in Path(retrieval_index.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            roots = {name.partition(".")[0] for name in names}
            assert not roots & {"kzoo", "keras", "keras_hub", "tensorflow", "pickle"}, path


@pytest.mark.parametrize("name", retrieval_index.__all__)
def test_every_public_name_resolves(name):
    value = getattr(retrieval_index, name)
    assert value.__doc__ and value.__module__.startswith("retrieval_index.")


def test_names_agree():
    assert set(retrieval_index.__all__) <= set(dir(retrieval_index))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = retrieval_index.nonsense


def test_a_lazy_package(tmp_path, monkeypatch):
    package = tmp_path / "late"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "from retrieval_index.lazy import lazy\n"
        "if TYPE_CHECKING:\n"
        "    from late import deep\n"
        "    from late.part import first, second as other\n"
        "    from late.part import absent\n"
        "OWN = 3\n"
        "__getattr__, __dir__, __all__ = lazy(__name__, 'OWN')\n"
    )
    (package / "part.py").write_text("first, second = 1, 2\n")
    (package / "deep" / "__init__.py").write_text("inside = 4\n")
    monkeypatch.syspath_prepend(tmp_path)
    import late

    assert late.__all__ == ["OWN", "absent", "deep", "first", "other"]
    assert set(late.__all__) <= set(dir(late)) and "TYPE_CHECKING" not in dir(late)
    assert "late.part" not in sys.modules and "late.deep" not in sys.modules
    assert (late.first, late.other, late.OWN) == (1, 2, 3) and "late.deep" not in sys.modules
    assert late.deep.inside == 4
    for name in ("second", "absent", "nothing"):
        with pytest.raises(AttributeError, match=name):
            getattr(late, name)
