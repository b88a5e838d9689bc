"""Options: recipe overrides, refusals, and options of a resumed run."""

import pytest

from kzoo.runs import DataOptions, DistillOptions, RunError, TrainOptions


def test_overrides_of_the_recipe():
    options = TrainOptions(
        epochs=2, adapter="none", overrides={"training.warmup": 0.2, "layers": [0]}
    )
    assert options.recipe_overrides() == {
        "epochs": 2,
        "adapter": None,
        "warmup": 0.2,
        "layers": [0],
    }
    assert TrainOptions().recipe_overrides() == {}


@pytest.mark.parametrize("key", ["epochs", "training.epochs"])
def test_a_key_given_twice(key):
    with pytest.raises(RunError, match="`epochs` was given twice"):
        TrainOptions(epochs=2, overrides={key: 3}).recipe_overrides()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"jit": "maybe"}, "`jit` must be auto, on or off"),
        ({"metric": "val_speed"}, "`metric` must be val_accuracy or val_macro_f1"),
        ({"patience": 0}, "`patience` must be at least 1"),
        ({"take": 0}, "`take` must be at least 1"),
        ({"overwrite": True, "resume": True}, "exclude each other"),
    ],
)
def test_refusals(wrong, words):
    with pytest.raises(RunError, match=words):
        TrainOptions(**wrong)


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"student_loss_weight": 1.5}])
def test_refusals_of_distillation(wrong):
    with pytest.raises(RunError, match=f"`{next(iter(wrong))}`"):
        DistillOptions(**wrong)


def test_a_resumed_run_keeps_its_options():
    first = TrainOptions(epochs=4, seed=3, take=20, data=DataOptions(text_column="t"))
    again = TrainOptions(epochs=6, resume=True, data=DataOptions(strict=True))
    merged = again.on_top_of(first.to_dict())
    assert merged == TrainOptions(
        epochs=6, seed=3, take=20, resume=True, data=DataOptions(text_column="t", strict=True)
    )


def test_an_adapter_as_a_mapping():
    from kzoo.zoo.catalogue import find_recipe
    from kzoo.zoo.recipe import merged

    found = merged(find_recipe("bert-adapter"), {"adapter": {"method": "lora", "r": 2}})
    assert found.adapters.add == {"default": {"method": "lora", "r": 2}}
