"""Every weight method computes what HF PEFT computes, with PEFT's numbers in its variables."""

import copy

import numpy as np
import pytest
from test_peft import batch, make_folder, sequence

from kzoo.adapters import parse_adapter
from kzoo.adapters.acting.injection import Sites
from kzoo.backbones.loading import load_pretrained

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

MODULES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "ffn_intermediate": "intermediate.dense",
    "ffn_output": "output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "ffn_norm": "output.LayerNorm",
}
OUTSIDE = {
    "token_embedding": "embeddings.word_embeddings",
    "embeddings_norm": "embeddings.LayerNorm",
    "pooler": "pooler.dense",
}
SITES = "query,value,attention_output,ffn_intermediate,ffn_output"
TARGETS = (
    r".*layer\.\d+\.(attention\.self\.(query|value)|attention\.output\.dense"
    r"|intermediate\.dense|output\.dense)"
)
LORA = {"lora_a": "lora_A.default.weight", "lora_b": "lora_B.default.weight"}
HADA = {f"hada_w{i}_{c}": f"hada_w{i}_{c}.default" for i in "12" for c in "ab"}


def flat(tensor):
    return tensor.reshape(-1)


def lora(spec, variables=LORA, alpha=12, **options):
    config = {"r": 3, "lora_alpha": alpha, "init_lora_weights": False, "target_modules": TARGETS}
    return (
        f"lora[r=3,alpha={alpha},{spec}]",
        lambda: peft.LoraConfig(**{**config, **options}),
        variables,
    )


# Our specification, PEFT's configuration, our variable -> PEFT's key (matrices are transposed).
CASES = {
    "rslora": lora(f"use_rslora=true,targets=[{SITES}]", use_rslora=True),
    "dora": lora(
        f"use_dora=true,targets=[{SITES}]",
        {**LORA, "magnitude": "lora_magnitude_vector.default.weight"},
        use_dora=True,
    ),
    "patterns": lora(
        "targets=[query,key],rank_pattern={query: 2},alpha_pattern={blocks.1.key: 5}",
        target_modules=["query", "key"],
        rank_pattern={"query": 2},
        alpha_pattern={"layer.1.attention.self.key": 5},
    ),
    "lora_bias": lora(
        f"lora_bias=true,targets=[{SITES}]",
        {**LORA, "lora_b_bias": "lora_B.default.bias"},
        lora_bias=True,
    ),
    "train_bias": lora(
        f"train_bias=lora_only,targets=[{SITES}]",
        {**LORA, "bias": "base_layer.bias"},
        bias="lora_only",
    ),
    # Our a0 and b0 are computed from the same weights that PEFT decomposes.
    "pissa": lora(f"init=pissa,targets=[{SITES}]", init_lora_weights="pissa"),
    # With alpha 12 two float32 QR decompositions differ by 2e-5 in the hidden states.
    "olora": lora(f"init=olora,targets=[{SITES}]", alpha=3, init_lora_weights="olora"),
    "dora-pissa": lora(
        f"init=pissa,use_dora=true,targets=[{SITES}]",
        {**LORA, "magnitude": "lora_magnitude_vector.default.weight"},
        init_lora_weights="pissa",
        use_dora=True,
    ),
    "embedding": lora(
        "targets=[token_embedding]",
        {"lora_a": "lora_embedding_A.default", "lora_b": "lora_embedding_B.default"},
        target_modules=["word_embeddings"],
    ),
    "dora-embedding": lora(
        "use_dora=true,targets=[token_embedding]",
        {
            "lora_a": "lora_embedding_A.default",
            "lora_b": "lora_embedding_B.default",
            "magnitude": "lora_magnitude_vector.default.weight",
        },
        target_modules=["word_embeddings"],
        use_dora=True,
    ),
    "ia3": (
        "ia3[targets_in=[attention_output,ffn_output]]",
        lambda: peft.IA3Config(
            target_modules=["key", "value", "output.dense"],
            feedforward_modules=["output.dense"],
            init_ia3_weights=False,
        ),
        {"ia3_l": ("ia3_l.default", flat)},
    ),
    "loha": (
        f"loha[r=3,alpha=12,targets=[{SITES}]]",
        lambda: peft.LoHaConfig(r=3, alpha=12, target_modules=TARGETS, init_weights=False),
        HADA,
    ),
    "lokr": (
        f"lokr[r=3,alpha=6,targets=[{SITES}]]",
        lambda: peft.LoKrConfig(r=3, alpha=6, target_modules=TARGETS, init_weights=False),
        {"lokr_w1": "lokr_w1.default", "lokr_w2": "lokr_w2.default"},
    ),
    "lokr-decomposed": (
        f"lokr[r=1,alpha=2,decompose_both=true,decompose_factor=6,targets=[{SITES}]]",
        lambda: peft.LoKrConfig(
            r=1,
            alpha=2,
            decompose_both=True,
            decompose_factor=6,
            target_modules=TARGETS,
            init_weights=False,
        ),
        {f"lokr_w{i}_{c}": f"lokr_w{i}_{c}.default" for i in "12" for c in "ab"},
    ),
    "vera": (
        f"vera[r=5,targets=[{SITES}]]",
        lambda: peft.VeraConfig(r=5, target_modules=TARGETS, init_weights=False),
        {"vera_lambda_b": "vera_lambda_b.default", "vera_lambda_d": "vera_lambda_d.default"},
    ),
    **{
        f"oft-{name}": (
            f"oft[targets=[{SITES}],block_size={size},{spec}]",
            lambda size=size, options=options: peft.OFTConfig(
                oft_block_size=size, target_modules=TARGETS, init_weights=False, **options
            ),
            {"oft_r": ("oft_R.default.weight", np.asarray)},
        )
        for name, size, spec, options in (
            ("series", 4, "", {}),
            ("series3", 7, "cayley_neumann_terms=3", {"num_cayley_neumann_terms": 3}),
            ("series7", 4, "cayley_neumann_terms=7", {"num_cayley_neumann_terms": 7}),
            ("exact", 8, "cayley_neumann=false", {"use_cayley_neumann": False}),
            ("shared", 4, "block_share=true", {"block_share": True}),
            ("coft", 4, "coft=true,eps=0.1", {"coft": True, "eps": 0.1}),
        )
    },
    "adalora": (
        f"adalora[init_r=4,target_r=2,alpha=40,targets=[{SITES}]]",
        lambda: peft.AdaLoraConfig(
            init_r=4,
            target_r=2,
            lora_alpha=40,
            total_step=10,
            target_modules=TARGETS,
            init_lora_weights=False,
        ),
        {
            "lora_a": "lora_A.default",
            "lora_b": "lora_B.default",
            "lora_e": ("lora_E.default", flat),
        },
    ),
    "ln": (
        "ln",
        lambda: peft.LNTuningConfig(target_modules=["LayerNorm"]),
        {
            "gamma": "ln_tuning_layers.default.weight",
            "beta": "ln_tuning_layers.default.bias",
        },
    ),
}
LOOSE = ("adalora", "oft")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bert")


@pytest.fixture(scope="module")
def base(folder):
    return make_folder(folder, "bert")


@pytest.fixture(scope="module")
def trunk(base, folder):
    return load_pretrained(str(folder))


def module_of(place):
    if place.block is None:
        return OUTSIDE[place.site]
    return f"encoder.layer.{place.block}.{MODULES[place.site]}"


def hidden(model, inputs):
    with torch.no_grad():
        return model(**inputs).last_hidden_state.numpy()


def pairs(layer, variables):
    """Our variables with PEFT's key and the way from PEFT's shape to ours."""
    prefix = f"base_model.model.{module_of(layer.place)}."
    for name, source in variables.items():
        key, turn = source if isinstance(source, tuple) else (source, np.transpose)
        yield getattr(layer, name), prefix + key, turn


def check_gradients(reference, theirs, trunk, ours, mask, layers, variables):
    """Both back-propagate the same random sum of the hidden states."""
    import tensorflow as tf

    weights = np.random.default_rng(2).normal(size=(*mask.shape, 16)).astype("float32")
    weights *= mask[..., None]
    (reference(**theirs).last_hidden_state * torch.tensor(weights)).sum().backward()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(trunk.backbone(ours)["sequence_output"] * weights)
    parameters = dict(reference.named_parameters())
    every = [pair for layer in layers for pair in pairs(layer, variables)]
    found = tape.gradient(loss, [variable.value for variable, _, _ in every])
    for gradient, (_, key, turn) in zip(found, every, strict=True):
        expected = turn(parameters[key].grad.numpy())
        scale = np.abs(expected).max()
        difference = np.abs(np.asarray(tf.convert_to_tensor(gradient)) - expected).max()
        assert difference <= 1e-3 * scale + 1e-6, key


@pytest.mark.parametrize("case", CASES)
def test_equals_peft(case, base, trunk):
    spec, make, variables = CASES[case]
    torch.manual_seed(1)
    reference = peft.get_peft_model(copy.deepcopy(base), make()).eval()
    with torch.no_grad():  # away from the initial values, whatever they are
        for parameter in reference.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn_like(parameter))
    config = parse_adapter(spec)
    sites = Sites(trunk.family.places(trunk.backbone))
    layers = sites.add("a", config)
    sites.activate("a")
    try:
        state = reference.state_dict()
        for layer in layers:
            for variable, key, turn in pairs(layer, variables):
                variable.assign(turn(state[key].numpy()))
        if config.method == "vera":
            shared = layers[0].shared
            shared.vera_a.assign(state["base_model.vera_A.default"].numpy().T)
            shared.vera_b.assign(state["base_model.vera_B.default"].numpy().T)
        ours, theirs, mask = batch("bert", 0)
        expected, plain = hidden(reference, theirs), hidden(base, theirs)
        assert np.abs(expected - plain).max() > 0.05  # the adapter acts
        tolerance = 1e-4 if case.startswith(LOOSE) else 1e-5
        found = sequence(trunk.backbone(ours))
        np.testing.assert_allclose(found[mask > 0], expected[mask > 0], atol=tolerance)
        # Nothing of PEFT's is left out, and the counts agree.
        trained = sum(p.numel() for p in reference.parameters() if p.requires_grad)
        assert sum(int(np.prod(v.shape)) for v in sites.trainable("a")) == trained
        check_gradients(reference, theirs, trunk, ours, mask, layers, variables)
    finally:
        sites.remove("a")
