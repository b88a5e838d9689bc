"""Weighted merging gives what HF PEFT gives: tensor functions, and whole adapters."""

import numpy as np
import pytest

from kzoo.adapters import combining_tensors
from kzoo.adapters.combining import Combination, Trained, combine
from kzoo.adapters.config import parse_adapter

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
merge_utils = pytest.importorskip("peft.utils.merge_utils")

WEIGHTS = [0.7, -0.4, 1.5]


@pytest.fixture
def same_masks(monkeypatch):
    """Lets PEFT draw its masks from our generator, in its order."""

    def seeded(seed):
        generator = np.random.default_rng(seed)

        def bernoulli(probabilities):
            drawn = generator.random(tuple(probabilities.shape)) < probabilities.numpy()
            return torch.from_numpy(drawn.astype("float32"))

        monkeypatch.setattr(torch, "bernoulli", bernoulli)

    return seeded


@pytest.mark.parametrize("density", [0.13, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(40,), (9, 14)])
def test_tensor_functions(shape, density, same_masks):
    generator = np.random.default_rng(1)
    tensors = [generator.normal(size=shape).astype("float32") for _ in WEIGHTS]
    tensors[1][generator.random(shape) < 0.2] = 0
    theirs, factors = [torch.from_numpy(t) for t in tensors], torch.tensor(WEIGHTS)

    def check(name, *arguments, seed=None):
        options = {} if seed is None else {"seed": seed}
        if seed is not None:
            same_masks(seed)
        expected = getattr(merge_utils, name)(theirs, factors, *arguments).numpy()
        found = getattr(combining_tensors, name)(tensors, WEIGHTS, *arguments, **options)
        np.testing.assert_allclose(found, expected, atol=1e-6, err_msg=name)
        assert np.abs(expected).max() > 0.1, name

    check("task_arithmetic")
    check("magnitude_prune", density)
    check("dare_linear", density, seed=5)
    for sign in combining_tensors.MAJORITY_SIGNS:
        check("ties", density, sign)
        check("dare_ties", density, sign, seed=6)


# Whole adapters ----------------------------------------------------------------------------------


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(11, 6)
        self.wide = torch.nn.Linear(6, 9)
        self.narrow = torch.nn.Linear(9, 4)

    def forward(self, ids):
        return self.narrow(torch.relu(self.wide(self.table(ids))))


def make_peft(*configs):
    """A net with random trained adapters `a`, `b`, ... of PEFT."""
    torch.manual_seed(0)
    model = peft.get_peft_model(Net(), configs[0], adapter_name="a")
    for name, config in zip("bc", configs[1:], strict=False):
        model.add_adapter(name, config)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "lora_" in key or "ia3_" in key:
                parameter.copy_(torch.randn_like(parameter))
    return model


def lora(targets, **options):
    return peft.LoraConfig(target_modules=list(targets), **options)


def deltas(model, name):
    """PEFT's change of each weight, as (in, out) or (tokens, width)."""
    return {
        target: getattr(model.base_model.model, target).get_delta_weight(name).detach().numpy()
        for target in ("table", "wide", "narrow")
        if hasattr(getattr(model.base_model.model, target), "get_delta_weight")
    }


def ours(model, name, config):
    """The same adapter in our layout."""
    tensors = {}
    for target in ("table", "wide", "narrow"):
        layer = getattr(model.base_model.model, target)
        if name in getattr(layer, "lora_embedding_A", {}):
            a, b = layer.lora_embedding_A[name], layer.lora_embedding_B[name]
        elif name in getattr(layer, "lora_A", {}):
            a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
        else:
            continue
        tensors[f"{target}.lora_a"] = a.detach().numpy().T
        tensors[f"{target}.lora_b"] = b.detach().numpy().T
    return Trained(name, parse_adapter(config), tensors)


def compare(model, adapters, weights, method, **options):
    theirs = {"majority_sign_method" if k == "majority_sign" else k: v for k, v in options.items()}
    model.add_weighted_adapter([a.name for a in adapters], weights, "new", method, **theirs)
    config, tensors = combine(adapters, weights, Combination(method, **options))
    try:
        assert model.peft_config["new"].r == config.r
        assert config.scaling == 1
        for target, expected in deltas(model, "new").items():
            found = tensors[f"{target}.lora_a"] @ tensors[f"{target}.lora_b"]
            found = found if target == "table" else found.T
            np.testing.assert_allclose(found, expected, atol=2e-4, err_msg=f"{method} {target}")
            assert np.abs(expected).max() > 0.1
    finally:
        model.delete_adapter("new")


TARGETS = ("table", "wide", "narrow")
SPEC = "targets=[table, wide, narrow]"


def test_lora_of_equal_ranks():
    model = make_peft(*(lora(TARGETS, r=3, lora_alpha=alpha) for alpha in (3, 6, 5)))
    adapters = [
        ours(model, name, f"lora[r=3,alpha={alpha},{SPEC}]")
        for name, alpha in zip("abc", (3, 6, 5), strict=True)
    ]
    for weights in (WEIGHTS, [0.5, 0.3, 0.2]):
        compare(model, adapters, weights, "linear")
        compare(model, adapters, weights, "cat")
        compare(model, adapters, weights, "magnitude_prune", density=0.4)
        for sign in ("total", "frequency"):
            compare(model, adapters, weights, "ties", density=0.6, majority_sign=sign)
    compare(model, adapters[:1], [-1.0], "linear")


def test_lora_of_different_ranks():
    """Ranks stay below the narrowest width: PEFT's svd cannot give more."""
    model = make_peft(lora(TARGETS, r=2), lora(TARGETS, r=3, use_rslora=True))
    adapters = [
        ours(model, "a", f"lora[r=2,{SPEC}]"),
        ours(model, "b", f"rslora[r=3,{SPEC}]"),
    ]
    for rank in (None, 1, 4):
        compare(model, adapters, [0.6, -1.1], "svd", svd_rank=rank)
    compare(model, adapters, [0.6, -1.1], "cat")
    compare(model, adapters, [0.6, -1.1], "magnitude_prune_svd", density=0.5, svd_rank=4)
    for sign in ("total", "frequency"):
        options = {"density": 0.7, "majority_sign": sign, "svd_rank": 4}
        compare(model, adapters, [0.6, 1.1], "ties_svd", **options)


def test_dare_where_all_is_kept():
    """The masks are compared above; here it is what they are put on."""
    model = make_peft(lora(TARGETS, r=2), lora(TARGETS, r=2))
    adapters = [ours(model, name, f"lora[r=2,{SPEC}]") for name in "ab"]
    for method in ("dare_linear", "dare_ties", "dare_linear_svd", "dare_ties_svd"):
        compare(model, adapters, [0.6, -1.1], method, density=1.0)


def test_ia3():
    config = parse_adapter("ia3")
    make = {"target_modules": ["wide", "narrow"], "feedforward_modules": ["narrow"]}
    model = make_peft(peft.IA3Config(**make), peft.IA3Config(**make))
    adapters = []
    for name in "ab":
        tensors = {
            f"{target}.ia3_l": getattr(model.base_model.model, target)
            .ia3_l[name]
            .detach()
            .numpy()
            .ravel()
            for target in ("wide", "narrow")
        }
        adapters.append(Trained(name, config, tensors))
    model.base_model.add_weighted_adapter(["a", "b"], [0.7, -0.4], "new")
    new_config, tensors = combine(adapters, [0.7, -0.4], Combination())
    assert new_config == config
    for target in ("wide", "narrow"):
        expected = getattr(model.base_model.model, target).ia3_l["new"].detach().numpy().ravel()
        np.testing.assert_allclose(tensors[f"{target}.ia3_l"], expected, atol=1e-6)
