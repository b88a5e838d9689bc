"""AdaLoRA's rank allocator, regularizer and pruning; training and saving of weight methods."""

import keras
import numpy as np
import pytest

from kzoo.adapters import RankAllocator, parse_adapter
from kzoo.adapters.acting.injection import Sites
from kzoo.adapters.layers.low_rank import Orthogonality
from kzoo.adapters.rank_allocator import _update
from kzoo.errors import AdapterError

FACTORS = ("lora_a", "lora_e", "lora_b")


@pytest.fixture
def pair(tiny_trunk):
    """An allocator on AdaLoRA layers with averages of random gradients, and these gradients."""
    sites = Sites(tiny_trunk.family.places(tiny_trunk.backbone))
    config = parse_adapter("adalora[init_r=4,target_r=1,tinit=2,tfinal=3,delta_t=2]")
    layers = sites.add("a", config)
    rng = np.random.default_rng(0)
    allocator = RankAllocator()
    allocator._config, allocator._layers, allocator._total = config, layers, 20
    variables = [getattr(layer, name) for layer in layers for name in FACTORS]
    for variable in variables:
        variable.assign(rng.normal(size=variable.shape))
        zeros = [keras.Variable(np.zeros(variable.shape, "float32")) for _ in range(2)]
        allocator._averages[id(variable)] = tuple(zeros)
    gradients = [[rng.normal(size=v.shape).astype("float32") for v in variables] for _ in range(3)]
    for step in gradients:
        for variable, gradient in zip(variables, step, strict=True):
            _update(allocator._averages[id(variable)], gradient, variable, 0.85, 0.7)
    return allocator, layers, gradients


def test_importance(pair):
    """Equations 7 to 11 in numpy."""
    allocator, layers, gradients = pair

    def score(position, variable):
        mean = uncertainty = 0.0
        for step in gradients:
            sensitivity = np.abs(np.asarray(variable) * step[position])
            mean = 0.85 * mean + 0.15 * sensitivity
            uncertainty = 0.7 * uncertainty + 0.3 * np.abs(sensitivity - mean)
        return mean * uncertainty

    found = allocator.scores()
    assert found.shape == (4, 4)
    for number, layer in enumerate(layers):
        a, e, b = (score(3 * number + i, getattr(layer, n)) for i, n in enumerate(FACTORS))
        np.testing.assert_allclose(found[number], e + a.mean(0) + b.mean(1), rtol=1e-4)


def test_removal_keeps_the_most_important(pair):
    allocator, layers, _ = pair
    scores = allocator.scores()
    allocator._remove(5)
    left = np.stack([np.asarray(layer.lora_e) != 0 for layer in layers])
    assert left.sum() == 5 and scores[left].min() > scores[~left].max()
    allocator._remove(16)  # everything may stay
    assert sum((np.asarray(layer.lora_e) != 0).sum() for layer in layers) == 5


def test_budget_and_removals_equal_peft(pair):
    torch = pytest.importorskip("torch")
    peft = pytest.importorskip("peft")
    from peft.tuners.adalora.layer import RankAllocator as Reference

    allocator, layers, gradients = pair
    net = torch.nn.Sequential(*(torch.nn.Linear(16, 16) for _ in range(4)))
    config = peft.AdaLoraConfig(
        init_r=4,
        target_r=1,
        tinit=2,
        tfinal=3,
        deltaT=2,
        beta1=0.85,
        beta2=0.7,
        total_step=20,
        target_modules=["0", "1", "2", "3"],
    )
    model = peft.get_peft_model(net, config)
    reference = Reference(model, config, "default")
    for step in range(21):
        budget, due = reference.budget_schedule(step)
        assert allocator.budget_at(step) == budget
        assert due == ((step > 17) or (step > 2 and step % 2 == 0))
    parameters = dict(model.named_parameters())
    theirs = {}
    for number, layer in enumerate(layers):
        for position, (name, theirs_name) in enumerate(
            zip(FACTORS, ("lora_A", "lora_E", "lora_B"), strict=True)
        ):
            key = f"base_model.model.{number}.{theirs_name}.default"
            turned = np.asarray(getattr(layer, name)).T.reshape(parameters[key].shape)
            parameters[key].data = torch.tensor(turned)
            theirs[key] = 3 * number + position
    for step in gradients:
        for key, position in theirs.items():
            gradient = step[position].T.reshape(parameters[key].shape)
            parameters[key].grad = torch.tensor(np.ascontiguousarray(gradient))
        reference.update_ipt(model)
    reference.mask_to_budget(model, 6)
    allocator._remove(6)
    for number, layer in enumerate(layers):
        expected = parameters[f"base_model.model.{number}.lora_E.default"].detach().numpy()
        np.testing.assert_allclose(np.asarray(layer.lora_e), expected.reshape(-1), rtol=1e-6)


def test_regularizer_is_pefts_mean(tiny_classifier):
    model = tiny_classifier("adalora[init_r=3,target_r=2,orth_reg_weight=0.5]", num_classes=2)
    layers = [layer for _, layer in model.trunk.sites.layers("default")]

    def distance(matrix):
        return np.linalg.norm(matrix @ matrix.T - np.eye(len(matrix)))

    norms = [distance(np.asarray(layer.lora_a).T) for layer in layers]
    norms += [distance(np.asarray(layer.lora_b)) for layer in layers]
    assert len(norms) == 8
    assert float(sum(model.losses)) == pytest.approx(0.5 * np.mean(norms), rel=1e-5)
    model.adapters.deactivate()
    assert not model.losses
    assert float(Orthogonality(1.0, 0)(np.eye(2, 5, dtype="float32"))) < 1e-5


def test_fit_with_the_allocator(tiny_classifier, reviews, tmp_path):
    spec = "adalora[init_r=4,target_r=2,tfinal=3,delta_t=2,targets=[query,ffn_output]]"
    model = tiny_classifier(spec)
    allocator = RankAllocator()
    budgets, least = [], []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            budgets.append(allocator.budget)
            least.append(allocator.scores().min())

    model.fit(*reviews, epochs=3, batch_size=8, verbose=0, callbacks=[allocator, Watch()])
    steps = len(budgets)
    known = [budget for budget in budgets if budget is not None]
    assert steps == 15 and known == sorted(known, reverse=True) and known[-1] == 8
    assert budgets[steps - 4] == 8 and budgets[5] > 8  # final three steps before the end
    assert min(least[2:]) > 0  # the compiled step tells every gradient
    layers = [layer for _, layer in model.trunk.sites.layers("default")]
    masks = np.stack([np.asarray(layer.rank_mask) for layer in layers])
    assert masks.shape == (4, 4) and masks.sum() == 8
    assert "apply" not in vars(model.optimizer) and model.train_function is None
    # What was removed stays removed, whatever E says, and in a loaded adapter too.
    before = model.predict(reviews[0][:3], verbose=0)
    model.adapters.save("default", tmp_path / "a")
    other = tiny_classifier(num_classes=2)
    other.adapters.load(tmp_path / "a")
    for layer in (layer for _, layer in other.trunk.sites.layers("default")):
        mask = np.asarray(layer.rank_mask)
        layer.lora_e.assign(np.where(mask > 0, np.asarray(layer.lora_e), 5.0))
    np.testing.assert_array_equal(other.predict(reviews[0][:3], verbose=0), before)


def test_sensitivities_are_those_of_the_step(tiny_classifier):
    """The optimizer tells the allocator the gradients that it applies."""
    model = tiny_classifier("adalora[init_r=2,target_r=1,total_step=9]", num_classes=2)
    model.compile(keras.optimizers.SGD(0.1))
    allocator = RankAllocator("default")
    allocator.set_model(model)
    allocator.on_train_begin()
    variables = model.trainable_variables
    gradients = [np.full(v.shape, 0.5, "float32") for v in variables]
    model.optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients], variables)
    layer = next(layer for _, layer in model.trunk.sites.layers("default"))
    mean, uncertainty = allocator._averages[id(layer.lora_a)]
    sensitivity = np.abs(np.asarray(layer.lora_a)) * 0.5
    np.testing.assert_allclose(np.asarray(mean), 0.15 * sensitivity, rtol=1e-4)
    np.testing.assert_allclose(np.asarray(uncertainty), 0.15 * 0.85 * sensitivity, rtol=1e-4)
    allocator.on_train_end()
    assert "apply" not in vars(model.optimizer)


def test_what_the_allocator_refuses(tiny_classifier):
    def begin(model, *names):
        allocator = RankAllocator(*names)
        allocator.set_model(model)
        allocator.on_train_begin()

    model = tiny_classifier("lora", num_classes=2)
    with pytest.raises(AdapterError, match="one active AdaLoRA adapter"):
        begin(model)
    model.adapters.add("a", "adalora[tinit=5,tfinal=5]")
    with pytest.raises(AdapterError, match="`nothing`"):
        begin(model, "nothing")
    with pytest.raises(AdapterError, match="`total_step` is not known"):
        begin(model)
    with pytest.raises(AdapterError, match=r"kzoo\.adapt"):
        begin(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))


UNION = (
    "lora[train_bias=lora_only,r=2]|dora[targets=key,r=2]|pissa[targets=[attention_output],r=2]"
    "|ia3[targets_out=[],targets_in=[ffn_output]]|loha[targets=ffn_intermediate,r=2]"
    "|lokr[targets=pooler,r=2]|vera[targets=ffn_output,r=3]|oft[targets=query,block_size=4]"
    "|lora[targets=token_embedding,r=2]|ln|bitfit[targets=[ffn_output,ffn_norm]]"
)


@pytest.fixture(scope="module")
def trained():
    """All methods at once, trained for a few steps."""
    from tiny import NEGATIVE, POSITIVE, make_model, make_tiny_trunk

    from kzoo.models.classifier import TextClassifier

    model = make_model(
        TextClassifier,
        make_tiny_trunk(),
        recipe="tiny",
        max_tokens=32,
        num_classes=2,
        head={"pooling": "pooler"},
    )
    model.adapters.add("all", UNION)
    before = {key: np.asarray(v) for key, v in model.adapters.variables("all").items()}
    trunk = [np.asarray(v) for v in model.trunk.trunk_variables]
    model.compile(learning_rate=0.05, jit_compile=False)
    texts, labels = POSITIVE + NEGATIVE, [1] * len(POSITIVE) + [0] * len(NEGATIVE)
    # In two steps: where one factor starts at zero, the other one moves in the second.
    model.fit(texts, np.array(labels), batch_size=5, verbose=0)
    return model, before, trunk


FROZEN = ("vera_a", "vera_b", "lora_a0", "lora_b0")


def test_everything_of_every_method_is_trained_and_nothing_else(trained):
    model, before, trunk = trained
    after = {key: np.asarray(v) for key, v in model.adapters.variables("all").items()}
    for key, old in before.items():
        still = key.endswith(FROZEN)
        assert (old == after[key]).all() == still, key
    for old, variable in zip(trunk, model.trunk.trunk_variables, strict=True):
        np.testing.assert_array_equal(old, np.asarray(variable))


def test_saved_and_loaded(trained, tmp_path):
    model, _, _ = trained
    texts = ["good film", "a terrible cat"]
    expected = model.predict(texts, verbose=0)
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.predict(texts, verbose=0), expected)
    for key, variable in model.adapters.variables("all").items():
        np.testing.assert_array_equal(
            np.asarray(variable), np.asarray(again.adapters.variables("all")[key])
        )


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float16"])
def test_low_precision(policy):
    """Whatever the host's types are: same values within a few bits, and a working merge."""
    import keras_hub

    from kzoo.backbones.families import FAMILIES

    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=50,
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        dropout=0.0,
        max_sequence_length=8,
        dtype=policy,
    )
    ids = np.random.default_rng(0).integers(0, 50, (2, 5)).astype("int32")
    inputs = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1}

    def outputs():
        return np.asarray(backbone(inputs)["sequence_output"]).astype("float32")

    sites = Sites(FAMILIES.get("bert").places(backbone))
    plain = outputs()
    for spec in [*UNION.split("|"), "adalora", "dora[targets=token_embedding]"]:
        layers = sites.add("a", parse_adapter(spec))
        sites.activate("a")
        np.testing.assert_allclose(outputs(), plain, atol=2e-2)
        assert {str(v.dtype) for layer in layers for v in layer.weights} == {"float32"}
        rng = np.random.default_rng(0)
        for layer in layers:
            for v in layer.trainable_variables:
                v.assign(np.asarray(v).astype("float32") + rng.normal(0, 0.1, v.shape))
        adapted = outputs()
        kept = [(v, np.asarray(v), new) for layer in layers for v, new in layer.merged()]
        for v, _, new in kept:
            v.assign(new)
        sites.remove("a")
        np.testing.assert_allclose(outputs(), adapted, atol=0.1)
        for v, old, _ in kept:
            v.assign(old)
