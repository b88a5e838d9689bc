"""A trunk of a few kilobytes in HF format, recipes on it, and texts that it can learn."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np

WORDS = {
    "food": ["soup", "bread", "cheese", "apple", "pasta", "dinner", "sauce", "oven"],
    "money": ["bank", "loan", "credit", "interest", "account", "tax", "price", "market"],
    "sport": ["goal", "match", "team", "coach", "ball", "stadium", "race", "player"],
}
COMMON = ["the", "and", "were", "about", "a", "one", "two", "three", "of", "in"]
WIDTH, INNER, BLOCKS, LONGEST = 32, 48, 2, 32


def rows(count: int, seed: int) -> list[dict[str, str]]:
    """`count` rows, classes in turn; no two seeds share many texts."""
    choose = random.Random(seed)
    labels = list(WORDS)
    found = []
    for i in range(count):
        label = labels[i % len(labels)]
        a, b, c = (choose.choice(WORDS[label]) for _ in range(3))
        text = f"the {a} and the {b} were about {choose.choice(COMMON)} {c}"
        found.append({"text": text, "label": label})
    return found


def write_jsonl(path: Path, found: list[dict[str, str]]) -> Path:
    """Rows as JSONL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return path


def write_dataset(folder: Path, train: int = 60, test: int = 30) -> Path:
    """A folder with train.jsonl and test.jsonl."""
    write_jsonl(folder / "train.jsonl", rows(train, 1))
    write_jsonl(folder / "test.jsonl", rows(test, 2))
    return folder


def write_trunk(folder: Path) -> Path:
    """A random BERT of 2 blocks and width 32, as an HF-format folder."""
    from safetensors.numpy import save_file

    words = sorted({word for several in WORDS.values() for word in several} | set(COMMON))
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    config = {
        "model_type": "bert",
        "vocab_size": len(vocabulary),
        "num_hidden_layers": BLOCKS,
        "num_attention_heads": 2,
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "max_position_embeddings": LONGEST,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "layer_norm_eps": 1e-12,
    }
    random_ = np.random.default_rng(0)

    def tensor(*shape: int) -> np.ndarray:
        return random_.normal(0, 0.4, shape).astype("float32")

    tensors = {
        "embeddings.word_embeddings.weight": tensor(len(vocabulary), WIDTH),
        "embeddings.position_embeddings.weight": 0.1 * tensor(LONGEST, WIDTH),
        "embeddings.token_type_embeddings.weight": 0.1 * tensor(2, WIDTH),
    }
    tensors["pooler.dense.weight"] = tensor(WIDTH, WIDTH)
    tensors["pooler.dense.bias"] = tensor(WIDTH)
    norms = ["embeddings.LayerNorm"]
    for i in range(BLOCKS):
        block = f"encoder.layer.{i}"
        norms += [f"{block}.attention.output.LayerNorm", f"{block}.output.LayerNorm"]
        linear = {
            "attention.self.query": (WIDTH, WIDTH),
            "attention.self.key": (WIDTH, WIDTH),
            "attention.self.value": (WIDTH, WIDTH),
            "attention.output.dense": (WIDTH, WIDTH),
            "intermediate.dense": (INNER, WIDTH),
            "output.dense": (WIDTH, INNER),
        }
        for name, shape in linear.items():
            tensors[f"{block}.{name}.weight"] = tensor(*shape)
            tensors[f"{block}.{name}.bias"] = 0.1 * tensor(shape[0])
    for name in norms:
        tensors[f"{name}.weight"] = np.ones(WIDTH, "float32")
        tensors[f"{name}.bias"] = np.zeros(WIDTH, "float32")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    save_file(tensors, str(folder / "model.safetensors"))
    return folder


def write_recipe(path: Path, trunk: Path, **more: object) -> Path:
    """A classification recipe on the toy trunk; JSON is YAML."""
    recipe = {
        "version": 2,
        "trunk": {"kind": "pretrained", "source": str(trunk), "max_tokens": LONGEST},
        "head": {"kind": "classify"},
        "training": {"learning_rate": 0.02, "batch_size": 8, "epochs": 4},
        **more,
    }
    path.write_text(json.dumps(recipe), encoding="utf-8")
    return path
