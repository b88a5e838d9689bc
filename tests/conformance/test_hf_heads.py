"""Models of HF transformers with a head: outputs equal both ways, labels and units kept."""

import json

import numpy as np
import pytest
from test_families_hf import BERT
from tiny import NEGATIVE, POSITIVE, tiny_vocabulary

import kzoo
from kzoo.errors import AdapterError, InputError, WeightsError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TEXTS = ["a good film", "the bad cat and the great dog", "one two three"]
PAIRS = [("a good film", "great movie"), ("the bad cat is nice", "awful")]
TAGS = ["B-a", "I-a", "O"]
SIZES = {**BERT, "vocab_size": len(tiny_vocabulary())}
DISTIL = {
    "vocab_size": len(tiny_vocabulary()),
    "n_layers": 2,
    "n_heads": 4,
    "dim": 16,
    "hidden_dim": 24,
    "max_position_embeddings": 40,
    "initializer_range": 0.3,
}
# Family -> HF's names, its config, and the token ids of padding and the like.
FAMILIES = {
    "bert": ("Bert", SIZES),
    "roberta": ("Roberta", {**SIZES, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}),
    "distilbert": ("DistilBert", DISTIL),
    "electra": ("Electra", {**SIZES, "embedding_size": 8}),
}
ALBERT = ("Albert", {**SIZES, "embedding_size": 8, "hidden_act": "gelu_new"})


def make_folder(folder, family, ending, **config):
    """A tiny random HF model and its folder; returns the model."""
    prefix, sizes = ALBERT if family == "albert" else FAMILIES[family]
    cls = getattr(transformers, f"{prefix}For{ending}")
    torch.manual_seed(0)
    model = cls(cls.config_class(**{**sizes, **config})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    tokens = tiny_vocabulary()
    if family == "roberta":  # its positions need the padding at 1
        tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *tokens[5:]]
        cls = transformers.PreTrainedTokenizerFast
        write_wordpiece(folder, tokens)
    else:
        (folder / "vocab.txt").write_text("\n".join(tokens))
    return model


def write_wordpiece(folder, tokens):
    """A tokenizer with RoBERTa's special tokens over our words."""
    import tokenizers

    ids = {token: number for number, token in enumerate(tokens)}
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(ids, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.post_processor = tokenizers.processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    made.save(str(folder / "tokenizer.json"))


def of_hf(model, ours, prefix=""):
    """HF's logits for our inputs."""
    theirs = {
        hf: torch.tensor(np.asarray(ours[prefix + key])).long()
        for key, hf in (
            ("token_ids", "input_ids"),
            ("padding_mask", "attention_mask"),
            ("segment_ids", "token_type_ids"),
        )
        if prefix + key in ours
    }
    with torch.no_grad():
        return model(**theirs)


@pytest.mark.parametrize("family", FAMILIES)
def test_classes(family, tmp_path):
    labels = {0: "no", 1: "maybe", 2: "yes"}
    config = {"id2label": labels, "label2id": {v: k for k, v in labels.items()}}
    reference = make_folder(tmp_path, family, "SequenceClassification", **config)
    model = kzoo.load(tmp_path)
    assert type(model).__name__ == "TextClassifier" and model.labels == ["no", "maybe", "yes"]
    for rows in (TEXTS, PAIRS):
        inputs = next(iter(model.prepare(rows)))
        expected = of_hf(reference, inputs).logits.numpy()
        assert np.ptp(expected) > 0.1
        np.testing.assert_allclose(model.predict(rows, verbose=0), expected, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_tags_and_answers(family, tmp_path):
    config = {"id2label": dict(enumerate(TAGS)), "label2id": {v: k for k, v in enumerate(TAGS)}}
    reference = make_folder(tmp_path / "tags", family, "TokenClassification", **config)
    model = kzoo.load(tmp_path / "tags")
    assert model.head.labels == TAGS
    inputs = next(iter(model.prepare(TEXTS)))
    expected = of_hf(reference, inputs).logits.numpy()
    real = np.asarray(inputs["padding_mask"]) > 0
    np.testing.assert_allclose(np.asarray(model(inputs))[real], expected[real], atol=1e-4)

    reference = make_folder(tmp_path / "answers", family, "QuestionAnswering")
    model = kzoo.load(tmp_path / "answers")
    inputs = next(iter(model.prepare(PAIRS)))
    found = of_hf(reference, inputs)
    expected = np.stack([found.start_logits.numpy(), found.end_logits.numpy()], axis=-1)
    real = np.asarray(inputs["padding_mask"]) > 0
    np.testing.assert_allclose(np.asarray(model(inputs))[real], expected[real], atol=1e-4)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "albert"])
def test_hidden_tokens(family, tmp_path):
    config = {"activation": "relu"} if family == "distilbert" else {"hidden_act": "relu"}
    config = {} if family == "albert" else config  # KerasHub's can do no other
    reference = make_folder(tmp_path, family, "MaskedLM", **config)
    model = kzoo.load(tmp_path)
    inputs = next(iter(model.prepare(TEXTS)))[0]
    expected = of_hf(reference, inputs).logits.numpy()
    real = np.asarray(inputs["padding_mask"]) > 0
    np.testing.assert_allclose(np.asarray(model(inputs))[real], expected[real], atol=1e-4)
    model.adapters.add("a", "lora[r=2]")  # it changes nothing, nor does a second one's copy
    model.adapters.add("b", "lora[r=2]")
    np.testing.assert_allclose(np.asarray(model(inputs))[real], expected[real], atol=1e-4)


def test_an_output_matrix_of_its_own_is_refused(tmp_path):
    make_folder(tmp_path, "bert", "MaskedLM", tie_word_embeddings=False)
    with pytest.raises(WeightsError, match=r"decoder\.weight.* is not the token embedding"):
        kzoo.load(tmp_path)


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_multiple_choice(family, tmp_path):
    reference = make_folder(tmp_path, family, "MultipleChoice")
    model = kzoo.load(tmp_path, k=2)
    rows = [("a good film", ["great movie", "bad"]), ("the cat", ["is nice", "is a dog and red"])]
    inputs = next(iter(model.prepare(rows)))
    names = {"token_ids": "input_ids", "padding_mask": "attention_mask"}
    names["segment_ids"] = "token_type_ids"
    theirs = {
        hf: torch.tensor(np.stack([inputs[f"0_{key}"], inputs[f"1_{key}"]], axis=1)).long()
        for key, hf in names.items()
        if f"0_{key}" in inputs
    }
    with torch.no_grad():
        expected = reference(**theirs).logits.numpy()
    np.testing.assert_allclose(model.predict(rows, verbose=0), expected, atol=1e-4)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_cross_encoder_ranks(family, tmp_path):
    reference = make_folder(tmp_path, family, "SequenceClassification", num_labels=1)
    model = kzoo.load(tmp_path, kind="rank", k=2)
    query, passages = "a good film", ["great movie", "the bad cat", "one two three"]
    inputs = model.text.encode([(query, passage) for passage in passages])
    expected = of_hf(reference, inputs).logits.numpy()[:, 0]
    np.testing.assert_allclose(model.scores(query, passages), expected, atol=1e-4)


def test_numbers_and_label_sets(tmp_path):
    reference = make_folder(tmp_path / "one", "bert", "SequenceClassification", num_labels=1)
    model = kzoo.load(tmp_path / "one")
    inputs = next(iter(model.prepare(TEXTS)))
    expected = of_hf(reference, inputs).logits.numpy()
    assert model.head.kind == "regress"
    np.testing.assert_allclose(model.predict(TEXTS, verbose=0), expected, atol=1e-4)
    model.head.learn(np.asarray([10.0, 20.0]))  # keeps the checkpoint's units
    np.testing.assert_allclose(model.predict(TEXTS, verbose=0), expected, atol=1e-4)
    problem = {"problem_type": "multi_label_classification", "num_labels": 3}
    make_folder(tmp_path / "sets", "bert", "SequenceClassification", **problem)
    model = kzoo.load(tmp_path / "sets")
    assert (model.head.kind, model.head.labels, model.head.num_classes) == ("multilabel", None, 3)


WRITTEN = {
    "classify": ("SequenceClassification", {}),
    "multilabel": ("SequenceClassification", {"problem_type": "multi_label_classification"}),
    "regress": ("SequenceClassification", {"problem_type": "regression", "num_labels": 2}),
    "rank": ("SequenceClassification", {"num_labels": 1}),
    "tag": ("TokenClassification", {}),
    "span": ("QuestionAnswering", {}),
    "choose": ("MultipleChoice", {}),
    "masked_lm": ("MaskedLM", {}),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", WRITTEN)
def test_written_and_read_by_transformers(kind, family, tmp_path):
    if kind == "choose" and family not in ("bert", "distilbert"):
        pytest.skip("HF's stands on a pooler that KerasHub lacks")
    if kind == "masked_lm" and family == "electra":
        pytest.skip("its generator is another model")
    ending, config = WRITTEN[kind]
    reference = make_folder(tmp_path / "before", family, ending, **config)
    options = {"kind": kind, "k": 1} if kind == "choose" else {"kind": kind}
    model = kzoo.load(tmp_path / "before", **options)
    for variable in model.weights:  # as training would
        if "seed" not in variable.path:
            noise = np.random.default_rng(0).normal(size=variable.shape) * 0.05
            variable.assign(np.asarray(variable) + noise)
    kzoo.save_hf(model, tmp_path / "after")
    cls = type(reference)
    again, loaded = cls.from_pretrained(tmp_path / "after", output_loading_info=True)
    assert not loaded["missing_keys"] and not loaded["unexpected_keys"]
    rows = PAIRS if kind in ("span", "rank", "choose") else TEXTS
    if kind == "choose":
        rows = [(text, [other]) for text, other in PAIRS]
    batch = next(iter(model.prepare(rows)))
    batch = batch[0] if isinstance(batch, tuple) else batch
    inputs = {k: np.asarray(v) for k, v in batch.items()}
    prefix = "0_" if kind in ("rank", "choose") else ""
    if kind == "choose":
        inputs = {key: value[:, None] for key, value in inputs.items()}
    found = of_hf(again.eval(), inputs, prefix)
    if kind == "span":
        expected = np.stack([found.start_logits.numpy(), found.end_logits.numpy()], axis=-1)
    else:
        expected = found.logits.numpy()
    if kind == "choose":
        inputs = {key: value[:, 0] for key, value in inputs.items()}
    own = np.asarray(model(inputs))
    real = slice(None)
    if kind in ("tag", "span", "masked_lm"):
        real = inputs["padding_mask"] > 0
    np.testing.assert_allclose(own[real], expected[real], atol=1e-4)
    # And by kzoo: the same again.
    twice = kzoo.load(tmp_path / "after", **options)
    np.testing.assert_allclose(np.asarray(twice(inputs)), own, atol=1e-5)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "after")
    for row in (TEXTS[1], PAIRS[1]):
        pair = (row,) if isinstance(row, str) else row
        assert tokenizer(*pair)["input_ids"] == model.text.tokenize([row]).ids.tolist()


def test_trained_with_an_adapter_and_merged(tmp_path):
    make_folder(tmp_path / "before", "roberta", "SequenceClassification", num_labels=2)
    model = kzoo.load(tmp_path / "before", training={"learning_rate": 0.01})
    model.adapters.add("a", "lora[r=4]")
    texts, labels = POSITIVE + NEGATIVE, [1] * 5 + [0] * 5
    model.fit(texts, labels, epochs=3, verbose=0)
    with pytest.raises(WeightsError, match=r"'a' acts.*merge_and_unload"):
        kzoo.save_hf(model, tmp_path / "after")
    expected = model.predict(texts, verbose=0)
    model.adapters.save("a", tmp_path / "a")
    other = kzoo.load(tmp_path / "before")
    other.adapters.load(tmp_path / "a")
    np.testing.assert_allclose(other.predict(texts, verbose=0), expected, atol=1e-5)
    model.adapters.merge_and_unload("a")
    kzoo.save_hf(model, tmp_path / "after")
    again = transformers.RobertaForSequenceClassification.from_pretrained(tmp_path / "after")
    inputs = model.text.encode(texts)
    np.testing.assert_allclose(of_hf(again.eval(), inputs).logits.numpy(), expected, atol=1e-4)
    plain = kzoo.TextClassifier.on(
        kzoo.Trunk(str(tmp_path / "before")), {"num_classes": 2, "pooling": "cls"}
    )
    with pytest.raises(AdapterError, match="`hidden` 'tanh', this model's None"):
        plain.adapters.load(tmp_path / "a", name="b")
    with pytest.raises(WeightsError, match="`hidden` 'tanh', this head"):
        kzoo.save_hf(plain, tmp_path / "plain")


def test_rows_with_hidden_layers_of_their_own(tmp_path):
    make_folder(tmp_path, "distilbert", "SequenceClassification", num_labels=3)
    model = kzoo.load(tmp_path)
    alone = {}
    for name, seed in (("a", 1), ("b", 2)):
        model.adapters.add(name, "lora[r=2]")
        rng = np.random.default_rng(seed)
        for variable in model.head.acting()[0].weights:
            variable.assign(np.asarray(variable) + rng.normal(size=variable.shape) * 0.3)
        alone[name] = model.predict(TEXTS, verbose=0)
    model.adapters.activate("a")
    np.testing.assert_allclose(model.predict(TEXTS, verbose=0), alone["a"], atol=1e-6)
    model.adapters.activate(kzoo.PerRow("a", "b"))
    found = model.predict(TEXTS, adapter_names=["a", "b", "a"], verbose=0)
    expected = [alone["a"][0], alone["b"][1], alone["a"][2]]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_is_refused(tmp_path):
    make_folder(tmp_path / "mlm", "bert", "PreTraining")
    with pytest.raises(WeightsError, match="heads of PreTraining are not known here"):
        kzoo.load(tmp_path / "mlm")
    make_folder(tmp_path / "choice", "roberta", "MultipleChoice")
    with pytest.raises(WeightsError, match="not known here for the family roberta"):
        kzoo.load(tmp_path / "choice", k=2)
    make_folder(tmp_path / "classes", "bert", "SequenceClassification", num_labels=2)
    for kind in ("rank", "tag"):
        with pytest.raises(WeightsError, match=f"`kind` '{kind}'.*2 outputs"):
            kzoo.load(tmp_path / "classes", kind=kind)
    config = json.loads((tmp_path / "classes" / "config.json").read_text())
    model = kzoo.load(tmp_path / "classes", pooling="mean")
    with pytest.raises(WeightsError, match="has `pooling` 'pooler'"):
        kzoo.save_hf(model, tmp_path / "after")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(WeightsError, match="holds no model of HF's"):
        kzoo.save_hf(model, tmp_path / "mine")
    config["num_hidden_layers"] = 3
    (tmp_path / "classes" / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError):
        kzoo.load(tmp_path / "classes")
    with pytest.raises(InputError, match="`hidden` of a head classify must be one of"):
        kzoo.heads.Classify(hidden="swish")
    with pytest.raises(InputError, match="`hidden` of a head embed must be left out"):
        kzoo.heads.Embed(hidden="tanh")
