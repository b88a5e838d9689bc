"""Every method on every family: identity, gradients, switching, merging, files, generation.

One test a family, and inside of it many methods; failures are collected, so that one report names
all cells that are wrong. Aliases of one configuration are tried once. `make test` tries each method
on an encoder, a decoder and a model of both, and on a part of the other families that is another
for each method; `make test-all` tries the rest.
"""

import traceback

import keras_hub
import numpy as np
import pytest
import tensorflow as tf

import kzoo
from kzoo.adapters import parse_adapter
from kzoo.adapters.tables import listed_methods
from kzoo.backbones.families import FAMILIES
from kzoo.errors import AdapterError
from tests.families import (
    FAMILY_NAMES,
    VOCABULARY,
    make_tiny_backbone,
    sequence_output,
    tiny_inputs,
)

DECODERS = {name: row.causal_lm for name, row in FAMILIES.items() if row.causal_lm}
# Their gate is a mean over the tokens of a call, and a cached step is a call of one token.
GATED = {"gated_lora", "gated_prefix", "unipelt", "lily"}
# Prefixes take part of the attention from the first step on; they have no values that do nothing.
# A bank's vectors are mixed from the first step on, too.
NOT_AN_IDENTITY = {"prefix", "gated_prefix", "mam", "unipelt", "vblora"}

NO_BIAS = {name for name, row in FAMILIES.items() if not row.biased}
NO_EMBEDDINGS_NORM = {n for n, row in FAMILIES.items() if "embeddings_norm" not in row.site_names}
NO_TOKENS = {name for name, row in FAMILIES.items() if row.kind == "vision"}
REFUSED = {
    "bitfit": NO_BIAS,
    "invertible": NO_EMBEDDINGS_NORM,
    "pfeiffer+inv": NO_EMBEDDINGS_NORM,
    "houlsby+inv": NO_EMBEDDINGS_NORM,
    "double_seq_bn_inv": NO_EMBEDDINGS_NORM,
    "prompt": NO_TOKENS,
    "ptuning": NO_TOKENS,
    "mpt": NO_TOKENS,
    "tokens": NO_TOKENS,
}


def methods():
    """Name -> specification, one for each different configuration."""
    seen, kept = set(), {}
    for name, spec in listed_methods().items():
        config = parse_adapter(spec)
        key = (type(config).__name__, config.model_dump_json(exclude={"method"}))
        if key not in seen:
            seen.add(key)
            kept[name] = spec
    return kept


def disturb(variables, seed=0, size=0.3):
    rng = np.random.default_rng(seed)
    for variable in variables:
        if variable.trainable:
            variable.assign(np.asarray(variable) + rng.normal(0, size, variable.shape))


class Bench:
    """One family's miniature, adapted; for decoders inside of a task that generates."""

    def __init__(self, family):
        self.family = family
        self.backbone = make_tiny_backbone(family)
        self.model = self.backbone
        if family in DECODERS:
            task = getattr(keras_hub.models, DECODERS[family])
            self.model = task(backbone=self.backbone, preprocessor=None)
            self.model.compile(sampler="greedy", run_eagerly=True)
        self.inputs = tiny_inputs(family)
        if isinstance(self.inputs, dict):
            for name, ids in self.inputs.items():
                if name.endswith("token_ids"):
                    ids[:, 1] = 5  # one of the tokens that `tokens` trains
                    ids[0, 2] = VOCABULARY  # the first row of any prompt
        self.adapters = kzoo.adapt(self.model)

    def out(self):
        return np.asarray(sequence_output(self.backbone(self.inputs)))

    def bare(self):
        """As `out`, of the trunk, which knows no virtual ids."""
        inputs = self.inputs
        if isinstance(inputs, dict):
            inputs = {k: np.minimum(v, VOCABULARY - 1) for k, v in inputs.items()}
        return np.asarray(sequence_output(self.backbone(inputs)))


def check(bench, name, spec, folder):
    """All properties of one cell; raises where one does not hold."""
    adapters, plain = bench.adapters, bench.bare()
    prompts = name in ("prompt", "ptuning", "mpt")
    run = bench.out if prompts else bench.bare
    adapters.add("a", spec)
    np.testing.assert_array_equal(np.asarray(run())[1:].shape, plain[1:].shape)
    if name not in NOT_AN_IDENTITY and not prompts:  # without its tokens a prompt is refused
        np.testing.assert_allclose(bench.bare(), plain, atol=2e-6, err_msg="identity")
    variables = adapters.variables("a")
    disturb(variables.values())
    adapted = run()
    assert np.isfinite(adapted).all()
    assert np.abs(adapted - plain).max() > 1e-4, "does not act"
    trained = adapters.host.sites.trainable("a")
    with tf.GradientTape() as tape:
        outputs = tf.nest.flatten(bench.backbone(bench.inputs if prompts else _bare(bench)))
        # Not the mean of squares: behind a layer norm that hardly depends on anything.
        rng = np.random.default_rng(1)
        target = sum(tf.reduce_sum(y * rng.normal(size=y.shape)) for y in outputs)
    gradients = tape.gradient(target, [v.value for v in trained])
    lacking = [v.name for v, g in zip(trained, gradients, strict=True) if g is None]
    assert not lacking, f"no gradient for {lacking}"
    assert {id(v) for v in bench.backbone.trainable_variables} <= {id(v) for v in trained}
    adapters.deactivate()
    np.testing.assert_array_equal(bench.bare(), plain, err_msg="off")
    adapters.activate("a")
    np.testing.assert_array_equal(run(), adapted, err_msg="on again")
    layers = [layer for _, layer in adapters.host.sites.layers("a")]
    if all(layer.mergeable for layer in layers) and not prompts:
        adapters.merge("a")
        np.testing.assert_allclose(bench.bare(), adapted, atol=1e-4, rtol=1e-4, err_msg="merged")
        adapters.unmerge("a")
        np.testing.assert_array_equal(bench.bare(), adapted, err_msg="unmerged")
    adapters.save("a", folder / name)
    adapters.load(folder / name, name="b")
    saved = adapters.variables("b")
    for key, variable in variables.items():
        np.testing.assert_array_equal(np.asarray(saved[key]), np.asarray(variable))
    if not prompts:  # a second prompt has ids of its own
        np.testing.assert_array_equal(run(), adapted, err_msg="loaded")
    adapters.delete("b")
    adapters.activate("a")
    if bench.family in DECODERS and name not in GATED:
        generate(bench, prompts)
    adapters.delete("a")
    assert not adapters.host.sites.attached
    np.testing.assert_array_equal(bench.bare(), plain, err_msg="deleted")


def _bare(bench):
    if not isinstance(bench.inputs, dict):
        return bench.inputs
    return {k: np.minimum(v, VOCABULARY - 1) for k, v in bench.inputs.items()}


def generate(bench, prompts, steps=3):
    """Greedy tokens with the cache are those of whole forward passes."""
    # A prompt acts where its virtual tokens stand; without any it would be refused.
    prompt = np.asarray([[*([VOCABULARY] if prompts else []), 7, 5, 9]], "int32")
    pad = ((0, 0), (0, steps))
    batch = {"token_ids": np.pad(prompt, pad), "padding_mask": np.pad(np.ones_like(prompt), pad)}
    cached = np.asarray(bench.model.generate(batch, stop_token_ids=None)["token_ids"])
    ids = prompt
    for _ in range(steps):
        logits = np.asarray(bench.model({"token_ids": ids, "padding_mask": np.ones_like(ids)}))
        ids = np.concatenate([ids, logits[:, -1:].argmax(-1).astype("int32")], axis=1)
    np.testing.assert_array_equal(cached, ids, err_msg="generate")


WHOLE = ("bert", "llama", "t5")
#: In the other families, each family tries another one of so many parts of the methods.
PARTS = 4


def tried(family, rest):
    """The methods of a family's test: those of `make test`, or the rest of them."""
    if family in WHOLE:
        return {} if rest else methods()
    turn = FAMILY_NAMES.index(family)
    return {
        name: spec
        for number, (name, spec) in enumerate(methods().items())
        if ((number + turn) % PARTS != 0) == rest
    }


def test_each_method_meets_each_family_once():
    for family in FAMILY_NAMES:
        now, later = tried(family, rest=False), tried(family, rest=True)
        assert not now.keys() & later.keys() and now | later == methods()


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_methods(family, tmp_path):
    sweep(family, tried(family, rest=False), tmp_path)


@pytest.mark.sweep
@pytest.mark.parametrize("family", [name for name in FAMILY_NAMES if name not in WHOLE])
def test_the_other_methods(family, tmp_path):
    sweep(family, tried(family, rest=True), tmp_path)


def sweep(family, specs, tmp_path):
    bench = Bench(family)
    wrong, refused = {}, set()
    for name, spec in specs.items():
        try:
            check(bench, name, spec, tmp_path)
        except Exception as error:
            if isinstance(error, AdapterError) and "a" not in bench.adapters:
                refused.add(name)
                if family not in REFUSED.get(name, ()):
                    wrong[name] = f"refused: {error}"
                continue
            last = traceback.extract_tb(error.__traceback__)[-1]
            wrong[name] = f"{type(error).__name__} at {last.name}: {str(error)[:600]}"
            for left in list(bench.adapters):
                if left in bench.adapters.merged:
                    bench.adapters.unmerge(left)
                bench.adapters.delete(left)
    expected = {name for name, families in REFUSED.items() if family in families}
    unasked = expected & set(specs) - refused - set(wrong)
    assert not unasked, f"{unasked} work on {family} now: take them from REFUSED"
    assert not wrong, "\n".join(f"{family} x {name}: {why}" for name, why in wrong.items())
