"""Start-up: what is imported, what is said, how the process ends."""

import os
import subprocess
import sys

import pytest

HEAVY = ("tensorflow", "keras", "faiss", "torch")


def _start(*words, **environment):
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "kzoo", *words],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["list"],
        ["list", "--methods"],
        ["list", "--plugins"],
        ["info", "bert-lora"],
        ["train", "--help"],
        ["distill", "--help"],
        ["demo", "--help"],
        ["adapters", "--help"],
        ["index", "--help"],
        ["index", "build", "--help"],
        ["index", "search", "--help"],
        ["index", "evaluate", "--help"],
    ],
)
def test_no_heavy_import(words):
    done = _start(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    modules = {
        line.rsplit("|", 1)[1].strip().split(".")[0]
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    }
    assert "typer" in modules
    assert not modules & set(HEAVY)
    if words == ["--help"]:
        assert not modules & {"numpy", "pydantic", "rich", "yaml"}  # 0.3 s are not much


def test_every_command_is_listed():
    text = _start("--help").stdout
    for name in ("list", "info", "train", "evaluate", "predict", "distill", "demo", "index"):
        assert f"\n  {name} " in text


def test_help_of_index_lists_what_the_library_knows(kzoo):
    """Generated: a reader, a method or a provider that is added shows up by itself."""
    from retrieval_index.chunking.chunker import methods
    from retrieval_index.corpus.formats import readable_kinds
    from retrieval_index.encoders.registry import known_providers
    from retrieval_index.fusion import METHODS

    text = kzoo("index", "build", "--help").out
    for name in (*(kind for kind, _, _ in readable_kinds()), *methods(), *known_providers()):
        assert f"\n  {name} " in text, name
    text = kzoo("index", "search", "--help").out
    assert all(name in text for name in METHODS)
    text = kzoo("index", "--help").out
    assert all(f"\n{heading}:\n" in text for heading in ("Build and search", "Change", "Measure"))
    assert "..." not in text.partition("\n")[2]  # every sentence to its end


def test_native_chatter_is_dropped_and_real_messages_are_not(tmp_path):
    script = (
        "import os, sys\n"
        "from kzoo.cli.failures import no_chatter\n"
        "with no_chatter():\n"
        "    os.write(2, b'I0000 00:00 port.cc:153] oneDNN\\n')\n"
        "    os.write(2, b'E0000 00:00 cuda_platform.cc:52] failed call to cuInit\\n')\n"
        "    os.write(2, b'E0000 00:00 kernel.cc:1] out of memory\\n')\n"
        "    print('ours', file=sys.stderr)\n"
        "print('after', file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    lines = sorted(done.stderr.splitlines())
    assert lines == ["E0000 00:00 kernel.cc:1] out of memory", "after", "ours"]


def test_a_mistake_in_a_real_process():
    done = subprocess.run(
        [sys.executable, "-m", "kzoo", "info", "bert-lorra"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: 'bert-lorra' is no zoo entry. Did you mean `bert-lora`?")
