"""Recipes: the shipped ones, their cards, and what is said of wrong ones."""

import math
import subprocess
import sys

import pytest

import kzoo
from kzoo.errors import RecipeError

ENTRIES = [
    "bert-adapter",
    "bert-compacter",
    "bert-full",
    "bert-fusion",
    "bert-houlsby",
    "bert-ia3",
    "bert-linear",
    "bert-lora",
    "bert-mam",
    "bert-multilabel",
    "bert-prefix",
    "bert-prompt",
    "bert-ptuning",
    "bert-tiny-student",
    "bert-unipelt",
    "minilm-encoder",
    "minilm-trained",
]


def test_first_entries_are_there():
    assert set(ENTRIES) <= set(kzoo.list())


@pytest.mark.parametrize("name", ENTRIES)
def test_card_counts_equal_the_built_model(name, minilm_folder):
    card = kzoo.info(name)
    for key in ("license", "source", "revision", "sha256", "lineage", "summary"):
        assert card[key], key
    options = {} if card["task"] == "embedding" else {"num_classes": 3}
    model = kzoo.load(name, **options)
    head = 3 * (card["head_parameters_per_class"] or 0)
    total = sum(math.prod(v.shape) for v in model.weights if "seed" not in v.path)
    assert card["total_parameters"] + head == total
    if card["head_parameters_per_class"]:
        trainable = sum(math.prod(v.shape) for v in model.trainable_variables)
        assert card["trainable_parameters"] + head == trainable
    assert model.training_settings.model_dump() == card["training"]


@pytest.mark.parametrize(
    ("name", "total"),
    [
        ("gpt2-lora", 124_439_808),
        ("t5-adapter", 60_506_624),
        ("llama-lora", 1_235_814_400),
        ("qwen-lora", 596_049_920),
    ],
)
def test_cards_of_what_is_not_installed_have_the_published_counts(name, total):
    card = kzoo.info(name)
    assert card["total_parameters"] - card["trainable_parameters"] == total
    assert card["installed"] is None


@pytest.mark.parametrize(
    ("name", "task", "outputs"),
    [
        ("bert-regression", "regression", 1),
        ("bert-ordinal", "rating", 2),
        ("bert-ranker", "ranking", 1),
        ("bert-choice", "multiple choice", 1),
    ],
)
def test_entries_for_numbers_and_ratings(name, task, outputs, minilm_folder):
    """The card counts without the head; ratings have an output less than there are."""
    card = kzoo.info(name)
    options = {"num_classes": 3} if name == "bert-ordinal" else {}
    model = kzoo.load(name, **options)
    assert card["task"] == task and card["head_parameters_per_class"] is None
    trainable = sum(math.prod(v.shape) for v in model.trainable_variables)
    assert trainable - card["trainable_parameters"] == outputs * (384 + 1)


def test_losses_are_options_of_a_recipe(minilm_folder):
    model = kzoo.load("bert-linear", num_classes=2, loss="focal", gamma=1.0, label_smoothing=0.1)
    assert (model.head.loss_kind, model.head.loss_options) == ("focal", {"gamma": 1.0})
    with pytest.raises(RecipeError, match="`gamma` is no option of the loss 'cross_entropy'"):
        kzoo.load("bert-linear", gamma=1.0)
    with pytest.raises(RecipeError, match=r"unknown key `head\.beta`"):
        kzoo.load("bert-multilabel", beta=0.9)


def test_student_is_cut_from_the_trunk(minilm_folder):
    import numpy as np

    student = kzoo.load("bert-tiny-student", num_classes=2).backbone
    trunk = kzoo.load("minilm-encoder").backbone
    assert student.num_layers == 2
    for new, old in ((0, 0), (1, 5)):
        pairs = zip(
            student.transformer_layers[new].get_weights(),
            trunk.transformer_layers[old].get_weights(),
            strict=True,
        )
        assert all(np.array_equal(a, b) for a, b in pairs)
    for layer in (
        "token_embedding",
        "position_embedding",
        "segment_embedding",
        "embeddings_layer_norm",
        "pooled_dense",
    ):
        pairs = zip(
            student.get_layer(layer).get_weights(),
            trunk.get_layer(layer).get_weights(),
            strict=True,
        )
        assert all(np.array_equal(a, b) for a, b in pairs)


START = "version: 2\ntrunk: minilm-l6\nhead: {kind: classify}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{START}adaptors: lora\n", "Did you mean `adapters`?"),
        ("version: 2\nhead: {kind: classify}\ntraining: {}\n", "`trunk` is missing"),
        ("version: 2\nhead: {kind: classify}\ntrunk: {}\n", "`trunk.source` is missing"),
        ("version: 2\ntrunk: minilm-l6\nhead: {kind: guess}\n", "`head.kind`"),
        ("version: 2\ntrunk: minilm-l6\nhead: {}\n", "`head.kind` is missing"),
        ("version: 2\ntrunk: minilm-l6\n", "give `head`"),
        ("task: classification\nbackbone: minilm-l6\n", "has no `version`"),
        ("version: 1\ntrunk: minilm-l6\nhead: {kind: classify}\n", "`version`"),
        (f"{START}adapters: lora[rank=3]\n", "`rank`"),
        (f"{START}adapters: {{add: {{a: lora, b: lora}}}}\n", "need a `composition`"),
        (f"{START}adapters: {{kind: unnamed, add: {{}}}}\n", "Did you mean `named`?"),
        (f"{START}training: {{epochs: 0}}\n", "`training.epochs`"),
        (f"{START}training: {{epoch: 1}}\n", "`epochs`?"),
        ("version: 2\ntrunk: minilm-l6\nhead: {kind: classify, poling: cls}\n", "`pooling`?"),
        ("version: 2\ntrunk: minilm-l6\nhead: {kind: classify, dropout: 2}\n", "`dropout`"),
        ("version: [unclosed\n", "is not YAML at line"),
        ("version: 2\nhead: {kind: a,\n kind: b}\n", "at line 3: the key 'kind' stands"),
        ("just text\n", "must hold a mapping"),
        ("!!python/object/apply:os.system ['true']\n", "is not YAML"),
    ],
)
def test_wrong_recipe_files(text, said, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError) as error:
        kzoo.load(path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_names_and_overrides():
    with pytest.raises(RecipeError, match="Did you mean `bert-adapter`"):
        kzoo.load("bert-adaptor")
    with pytest.raises(RecipeError, match="Did you mean `num_classes`"):
        kzoo.load("bert-adapter", num_class=3)
    with pytest.raises(RecipeError, match="there is no such file"):
        kzoo.info("nowhere.yaml")
    with pytest.raises(RecipeError, match="`labels` has 2"):
        kzoo.load("bert-adapter", num_classes=3, labels=["a", "b"])


def test_own_recipe_and_overrides(tmp_path, minilm_folder):
    path = tmp_path / "mine.yaml"
    path.write_text("version: 2\ntrunk: {source: minilm-l6, layers: [0]}\nhead: {kind: classify}\n")
    assert kzoo.info(path)["name"] == "mine"
    model = kzoo.load(
        path,
        labels=["a", "b"],
        adapter="lora[r=2]",
        learning_rate=0.5,
        pooling="cls",
        max_tokens=20,
    )
    assert model.labels == ["a", "b"]
    assert model.adapters.configs["default"].r == 2
    assert model.training_settings.learning_rate == 0.5
    assert model.head.pooling == "cls"
    assert model.text.encode(["word " * 50])["token_ids"].shape == (1, 20)
    with pytest.raises(RecipeError, match="`max_tokens` must be at most 512"):
        kzoo.load(path, max_tokens=513)
    with pytest.raises(RecipeError, match="`layers` must be rising"):
        kzoo.load(path, layers=[3, 1])


def test_cheap_imports():
    """Neither package, nor the card of an entry, imports TensorFlow or Keras."""
    script = (
        "import sys, kzoo, retrieval_index\n"
        "kzoo.info('bert-adapter'); dir(kzoo)\n"
        "print([m for m in ('tensorflow', 'keras', 'keras_hub', 'torch', 'faiss', 'sklearn')"
        " if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
