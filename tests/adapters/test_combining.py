"""Merging tensors and combining adapters by weights: values by hand and by identities."""

import keras
import numpy as np
import pytest

import kzoo
from kzoo.adapters.combining import COMBINATIONS, Combination, Trained, combine
from kzoo.adapters.combining_tensors import (
    dare_linear,
    dare_ties,
    disjoint_merge,
    elect_sign,
    keep_largest,
    magnitude_prune,
    task_arithmetic,
    ties,
)
from kzoo.adapters.config import parse_adapter
from kzoo.errors import AdapterError

RNG = np.random.default_rng(0)


def floats(*values):
    return np.array(values, "float32")


def test_sums_and_pruning_by_hand():
    a, b = floats(1, -4, 2, 3), floats(-2, 1, 0, 8)
    np.testing.assert_array_equal(task_arithmetic([a, b], [2, -1]), [4, -9, 4, -2])
    np.testing.assert_array_equal(keep_largest(a, 0.5), [0, -4, 0, 3])
    np.testing.assert_array_equal(keep_largest(a, 0.74), [0, -4, 0, 3])  # int(2.96) entries
    np.testing.assert_array_equal(keep_largest(a, 0.2), np.zeros(4))
    np.testing.assert_array_equal(keep_largest(a, 1), a)
    np.testing.assert_array_equal(keep_largest(floats(1, -1, 1, 1), 0.5), [1, -1, 0, 0])
    np.testing.assert_array_equal(magnitude_prune([a, b], [1, 10], 0.5), [-20, -4, 0, 83])
    half = task_arithmetic([a.astype("float16")], [0.1])
    assert half.dtype == np.float32


def test_ties_by_hand():
    tensors = [floats(3, -4, 2, 0), floats(-1, -2, 9, 0), floats(-1, 8, -9, 0)]
    # Sums 1, 2, 2, 0; signs -1, -1, 1, 0: what is elected, then the mean over who agrees.
    total = [3, 8, 5.5, 0]
    np.testing.assert_array_equal(ties(tensors, [1, 1, 1], 1), total)
    np.testing.assert_array_equal(ties(tensors, [1, 1, 1], 1, "frequency"), [-1, -3, 5.5, 0])
    # Weights do not vote, but count: (2 x 2 - 1 x 9) / 2 in the third.
    np.testing.assert_array_equal(ties(tensors, [2, -1, 1], 1), [6, 8, -2.5, 0])
    # Trimmed to halves: (3, -4), (-2, 9), (8, -9) at their places.
    np.testing.assert_array_equal(ties(tensors, [1, 1, 1], 0.5), [3, 8, 9, 0])
    assert not elect_sign(tensors)[:, 3].any()
    np.testing.assert_array_equal(
        disjoint_merge(tensors, elect_sign(tensors, "total")), floats(*total)
    )


def test_dare_drops_at_random_and_keeps_the_mean():
    ones = np.ones(20_000, "float32")
    dropped = dare_linear([ones], [1], 0.25, seed=3)
    assert set(np.unique(dropped)) == {0, 4}
    # The mean of n values of standard deviation sqrt(3): six sigma are 0.073.
    assert abs(dropped.mean() - 1) < 0.075
    np.testing.assert_array_equal(dropped, dare_linear([ones], [1], 0.25, seed=3))
    assert (dropped != dare_linear([ones], [1], 0.25, seed=4)).any()
    both = dare_linear([ones, ones], [1, 10], 0.25, seed=3)
    assert set(np.unique(both)) == {0, 4, 40, 44}  # a mask each
    # Two tasks that never agree: the sign of plus wins draws, minus what plus has dropped.
    merged = dare_ties([ones, -ones], [1, 1], 0.5)
    assert set(np.unique(merged)) == {-2, 0, 2}
    np.testing.assert_array_equal(
        dare_ties([ones, 3 * ones], [1, 1], 1), ties([ones, 3 * ones], [1, 1], 1)
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: ties(t, [1, 1], 0), "`density`.*0"),
        (lambda t: dare_linear(t, [1, 1], 1.5), "`density`.*1.5"),
        (lambda t: ties(t, [1, 1], 0.5, "totl"), "Did you mean `total`"),
        (lambda t: task_arithmetic(t, [1]), "`weights` must be 2"),
        (lambda t: task_arithmetic([t[0], t[1][:1]], [1, 1]), "one shape"),
        (lambda t: task_arithmetic([], []), "one shape"),
    ],
)
def test_bad_arguments_of_functions(call, message):
    with pytest.raises(AdapterError, match=message):
        call([np.ones(3), np.ones(3)])


# Whole adapters, without Keras -------------------------------------------------------------------

SIZES = {"blocks.0.query": (7, 5), "blocks.1.query": (4, 6)}


def trained(name, spec="lora[r=2,targets=[query]]", sizes=SIZES):
    config = parse_adapter(spec)
    tensors = {}
    for place, (size_in, size_out) in sizes.items():
        tensors[f"{place}.lora_a"] = RNG.normal(size=(size_in, config.r)).astype("float32")
        tensors[f"{place}.lora_b"] = RNG.normal(size=(config.r, size_out)).astype("float32")
    return Trained(name, config, tensors)


def delta(adapter, place):
    config, tensors = adapter.config, adapter.tensors
    return config.scaling * tensors[f"{place}.lora_a"] @ tensors[f"{place}.lora_b"]


def combined(adapters, weights, method, **options):
    return Trained("new", *combine(adapters, weights, Combination(method, **options)))


def options_of(method):
    return {} if method in ("linear", "cat", "svd") else {"density": 1.0}


@pytest.mark.parametrize("method", COMBINATIONS)
@pytest.mark.parametrize("weight", [1.0, -0.7])
def test_one_adapter_is_scaled_exactly(method, weight):
    one = trained("a", "rslora[r=2,alpha=3,targets=[query],dropout=0.1]")
    new = combined([one], [weight], method, **options_of(method))
    assert new.config == parse_adapter("lora[r=2,alpha=2,targets=[query],dropout=0.1]")
    for place in SIZES:
        np.testing.assert_allclose(delta(new, place), weight * delta(one, place), atol=1e-5)


@pytest.mark.parametrize("method", ["cat", "svd", "ties_svd", "magnitude_prune_svd"])
def test_ranks_may_differ(method):
    """All but ties are the exact sum where nothing is pruned and the rank suffices."""
    adapters = [trained("a"), trained("b", "lora[r=3,alpha=2,targets=[query]]")]
    weights = [0.5, -2.0]
    options = options_of(method) | ({} if method == "cat" else {"svd_rank": 5})
    new = combined(adapters, weights, method, **options)
    assert (new.config.r, new.config.alpha) == (5, 5.0)
    for place in SIZES:
        both = [delta(adapter, place) for adapter in adapters]
        if method == "ties_svd":
            expected = ties(both, weights, 1)
        else:
            expected = weights[0] * both[0] + weights[1] * both[1]
        np.testing.assert_allclose(delta(new, place), expected, atol=2e-5)


def test_svd_is_the_best_approximation():
    """Eckart and Young: the error's Frobenius norm is that of the singular values left out."""
    adapters = [trained("a"), trained("b")]
    new = combined(adapters, [1, 1], "svd", svd_rank=3)
    assert combined(adapters, [1, 1], "svd").config.r == 2
    wide = combined(adapters, [1, 1], "svd", svd_rank=6)  # more than the 4 that there are
    for place in SIZES:
        exact = delta(adapters[0], place) + delta(adapters[1], place)
        values = np.linalg.svd(exact, compute_uv=False)
        error = np.linalg.norm(delta(new, place) - exact)
        np.testing.assert_allclose(error, np.linalg.norm(values[3:]), rtol=1e-4)
        np.testing.assert_allclose(delta(wide, place), exact, atol=1e-5)


def test_linear_has_cross_terms():
    a, b = trained("a"), trained("b")
    new = combined([a, b], [0.25, 1.0], "linear")
    for place in SIZES:
        left = [adapter.tensors[f"{place}.lora_a"] for adapter in (a, b)]
        right = [adapter.tensors[f"{place}.lora_b"] for adapter in (a, b)]
        expected = 4 * (0.5 * left[0] + left[1]) @ (0.5 * right[0] + right[1])  # scaling 8 / 2
        np.testing.assert_allclose(delta(new, place), expected, rtol=1e-4, atol=1e-5)


def test_dare_is_seeded_and_differs_from_place_to_place():
    sizes = {"blocks.0.query": (30, 30), "blocks.1.query": (30, 30)}
    one = trained("a", sizes=sizes)
    ones = {key: np.ones_like(tensor) for key, tensor in one.tensors.items()}
    one = Trained("a", one.config, ones)
    first = combined([one], [1], "dare_linear", density=0.5, seed=1).tensors
    again = combined([one], [1], "dare_linear", density=0.5, seed=1).tensors
    other = combined([one], [1], "dare_linear", density=0.5, seed=2).tensors
    for key, tensor in first.items():
        np.testing.assert_array_equal(tensor, again[key])
        assert (tensor != other[key]).any()
    assert (first["blocks.0.query.lora_a"] != first["blocks.1.query.lora_a"]).any()
    assert (first["blocks.0.query.lora_a"] != first["blocks.0.query.lora_b"].T).any()


def test_bad_combinations():
    a, b = trained("a"), trained("b")
    narrow = trained("narrow", "lora[r=1,targets=[query]]")
    short = trained("short", sizes={"blocks.0.query": (7, 5)})
    broken = Trained("broken", a.config, a.tensors | {"blocks.1.query.lora_a": np.full(3, np.nan)})
    more = Trained("more", a.config, a.tensors | {"blocks.1.query.magnitude": np.ones(6)})
    bottle = Trained("bottle", parse_adapter("pfeiffer"), {"blocks.0.block.down": np.ones(2)})
    for message, adapters, weights, how in [
        ("at least one", [], [], Combination()),
        ("`weights` must be 2", [a, b], [1.0], Combination()),
        ("finite", [a, b], [1.0, float("nan")], Combination()),
        ("finite", [a, b], [1.0, "2"], Combination()),
        ("`a` is lora, `bottle` is pfeiffer", [a, bottle], [1, 1], Combination()),
        (r"`short` is not at \['blocks.1.query'\]", [a, short], [1, 1], Combination("cat")),
        (r"`short` is not at \['blocks.1.query'\]", [short, a], [1, 1], Combination("cat")),
        ("equal ranks.*`a` 2, `narrow` 1", [a, narrow], [1, 1], Combination()),
        ("`broken` holds NaN", [a, broken], [1, 1], Combination("cat")),
        ("`more` has more than", [a, more], [1, 1], Combination("cat")),
        ("is for lora", [bottle, bottle], [0.5, 0.5], Combination("svd")),
        ("sum to 1", [bottle, bottle], [1, 1], Combination()),
    ]:
        with pytest.raises(AdapterError, match=message):
            combine(adapters, weights, how)


def test_bad_options():
    for message, options in [
        ("Did you mean `ties_svd`", {"method": "ties-svd"}),
        ("`density`.*None", {"method": "ties"}),
        ("`density`.*2", {"method": "dare_linear_svd", "density": 2}),
        ("`density` has no effect on 'svd'", {"method": "svd", "density": 0.5}),
        ("`svd_rank` has no effect on 'cat'", {"method": "cat", "svd_rank": 2}),
        ("`svd_rank` must be at least 1", {"method": "svd", "svd_rank": 0}),
        ("`majority_sign` has no effect", {"method": "linear", "majority_sign": "frequency"}),
        (
            "Did you mean `frequency`",
            {"method": "ties", "density": 0.5, "majority_sign": "frequent"},
        ),
    ]:
        with pytest.raises(AdapterError, match=message):
            Combination(**options)


def test_other_methods_are_averaged():
    config = parse_adapter("pfeiffer")
    a = Trained("a", config, {"x.down": floats(1, 2), "x.drawn": floats(7)}, frozen={"x.drawn"})
    b = Trained("b", config, {"x.down": floats(3, 6), "x.drawn": floats(7)}, frozen={"x.drawn"})
    new_config, tensors = combine([a, b], [0.25, 0.75], Combination())
    assert new_config == config
    np.testing.assert_array_equal(tensors["x.down"], [2.5, 5])
    np.testing.assert_array_equal(tensors["x.drawn"], [7])
    c = Trained("c", config, {"x.down": floats(3, 6), "x.drawn": floats(8)}, frozen={"x.drawn"})
    with pytest.raises(AdapterError, match=r"differ in x\.drawn"):
        combine([a, c], [0.5, 0.5], Combination())
    d = Trained("d", parse_adapter("pfeiffer[reduction_factor=2]"), b.tensors)
    with pytest.raises(AdapterError, match="equal configurations"):
        combine([a, d], [0.5, 0.5], Combination())


# In a model --------------------------------------------------------------------------------------


def linear_model():
    """Without nonlinearities in between, so that outputs show the sums of changes."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    outputs = keras.layers.Dense(5, name="lin")(inputs)
    return keras.Model(inputs, outputs)


def fill(adapters, name):
    for variable in adapters.variables(name).values():
        if variable.trainable:
            variable.assign(RNG.normal(size=variable.shape))


def test_add_weighted_in_a_model():
    model = linear_model()
    adapters = kzoo.adapt(model)
    adapters.add("a", "lora[r=2,alpha=3,targets=[lin]]")
    adapters.add("b", "rslora[r=3,targets=[lin],alpha_pattern={lin: 5}]")
    x = RNG.normal(size=(4, 6)).astype("float32")
    adapters.deactivate()
    plain = np.asarray(model(x))
    changes = []
    for name in ("a", "b"):
        adapters.activate(name)
        fill(adapters, name)
        changes.append(np.asarray(model(x)) - plain)
    adapters.add_weighted("sum", ["a", "b"], [2, -0.5], "cat")
    assert adapters.active == ("sum",) and adapters.configs["sum"].r == 5
    expected = plain + 2 * changes[0] - 0.5 * changes[1]
    np.testing.assert_allclose(np.asarray(model(x)), expected, atol=1e-4)
    adapters.add_weighted("svd", ["a", "b"], [2, -0.5], "svd", svd_rank=5, activate=False)
    assert adapters.active == ("sum",)
    adapters.activate("svd")
    np.testing.assert_allclose(np.asarray(model(x)), expected, atol=1e-4)
    adapters.merge("svd")
    np.testing.assert_allclose(np.asarray(model(x)), expected, atol=1e-4)


def test_pissa_counts_from_its_start():
    """Untrained it changes nothing, so neither does what it is combined to."""
    model = linear_model()
    adapters = kzoo.adapt(model)
    x = RNG.normal(size=(4, 6)).astype("float32")
    plain = np.asarray(model(x))
    adapters.add("a", "pissa[r=2,targets=[lin]]")
    adapters.add_weighted("twice", ["a"], [2])
    np.testing.assert_allclose(np.asarray(model(x)), plain, atol=1e-5)
    adapters.activate("a")
    fill(adapters, "a")
    change = np.asarray(model(x)) - plain
    adapters.add_weighted("three", ["a"], [3], "cat")
    np.testing.assert_allclose(np.asarray(model(x)), plain + 3 * change, atol=1e-3)


def test_a_refused_combination_changes_nothing():
    adapters = kzoo.adapt(linear_model())
    adapters.add("a", "lora[r=2,targets=[lin]]")
    adapters.add("b", "lora[r=3,targets=[lin]]")
    for message, call in [
        ("There is no adapter `c`", lambda: adapters.add_weighted("new", ["a", "c"], [1, 1])),
        ("equal ranks", lambda: adapters.add_weighted("new", ["a", "b"], [1, 1])),
        ("taken", lambda: adapters.add_weighted("b", ["a", "b"], [1, 1], "cat")),
        ("list of names", lambda: adapters.add_weighted("new", "ab", [1, 1], "cat")),
    ]:
        with pytest.raises(AdapterError, match=message):
            call()
        assert list(adapters) == ["a", "b"] and adapters.active == ("b",)


def test_other_methods_in_a_model():
    """The weights of IA3 need not sum to 1."""
    model = linear_model()
    adapters = kzoo.adapt(model)
    for name in ("a", "b"):
        adapters.add(name, "ia3[targets_in=[],targets_out=[lin]]")
        fill(adapters, name)
    a, b = (np.asarray(adapters.variables(name)["lin.ia3_l"]) for name in ("a", "b"))
    adapters.add_weighted("new", ["a", "b"], [0.7, -0.4])
    new = np.asarray(adapters.variables("new")["lin.ia3_l"])
    np.testing.assert_allclose(new, 0.7 * a - 0.4 * b, atol=1e-6)
    adapters.add("la", "lora[targets=[lin]]")
    with pytest.raises(AdapterError, match="`a` is ia3, `la` is lora"):
        adapters.add_weighted("mixed", ["a", "la"], [1, 1])
