"""model.adapters: names, files, and what is refused."""

import json
import warnings

import numpy as np
import pytest

from kzoo.adapters.files import CONFIG_FILE, WEIGHTS_FILE
from kzoo.errors import AdapterError

TEXTS = ["good film", "bad film", "a cat"]


@pytest.fixture
def trained(tiny_classifier, reviews):
    model = tiny_classifier("houlsby")
    model.fit(*reviews, epochs=1, verbose=0)
    return model


def test_save_and_load_on_the_same_trunk(trained, tiny_classifier, tmp_path):
    trained.adapters.save("default", tmp_path / "a")
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["adapter.safetensors", "adapter_config.json", "head.safetensors"]
    facts = json.loads((tmp_path / "a" / CONFIG_FILE).read_text())
    assert facts["adapter"]["method"] == "houlsby"
    assert facts["trunk"]["fingerprint"] == trained.adapters.trunk_fingerprint()
    assert facts["head"]["labels"] == ["neg", "pos"]
    fresh = tiny_classifier()
    assert fresh.adapters.load(tmp_path / "a", name="again") == "again"
    assert fresh.labels == ["neg", "pos"]
    np.testing.assert_array_equal(
        fresh.predict(TEXTS, verbose=0), trained.predict(TEXTS, verbose=0)
    )
    assert fresh.adapters.active == ("again",)


def test_without_the_head(trained, tiny_classifier, tmp_path):
    trained.adapters.save("default", tmp_path / "a", with_head=False)
    fresh = tiny_classifier(num_classes=4)
    fresh.adapters.load(tmp_path / "a")
    for key, variable in trained.adapters.variables("default").items():
        np.testing.assert_array_equal(
            np.asarray(variable), np.asarray(fresh.adapters.variables("default")[key])
        )


def test_another_trunk_is_refused_with_both_fingerprints(trained, tiny_classifier, tmp_path):
    trained.adapters.save("default", tmp_path / "a")
    other = tiny_classifier(trunk_seed=1)
    with pytest.raises(AdapterError) as error:
        other.adapters.load(tmp_path / "a")
    assert trained.adapters.trunk_fingerprint() in str(error.value)
    assert other.adapters.trunk_fingerprint() in str(error.value)
    assert list(other.adapters) == []


def test_fingerprint_ignores_adapters_and_heads(tiny_classifier):
    one, two = tiny_classifier("lora", num_classes=2), tiny_classifier("pfeiffer", num_classes=5)
    assert one.adapters.trunk_fingerprint() == two.adapters.trunk_fingerprint()
    one.trunk.trunk_variables[3].assign_add(
        np.full(one.trunk.trunk_variables[3].shape, 1e-3, "float32")
    )
    assert one.adapters.trunk_fingerprint() != two.adapters.trunk_fingerprint()


def test_files_that_do_not_fit(trained, tiny_classifier, tmp_path):
    from safetensors.numpy import load_file, save_file

    trained.adapters.save("default", tmp_path / "a")
    weights = tmp_path / "a" / WEIGHTS_FILE
    whole = load_file(weights)
    key = next(iter(whole))

    def refused(said):
        fresh = tiny_classifier()
        with pytest.raises(AdapterError) as error:
            fresh.adapters.load(tmp_path / "a")
        assert said in str(error.value)
        assert list(fresh.adapters) == []  # nothing half-loaded
        assert fresh.num_classes is None or said != "missing"

    save_file({k: v for k, v in whole.items() if k != key}, weights)
    refused(f"missing ['{key}']")
    save_file({**whole, "blocks.9.query.x": np.zeros(1, "float32")}, weights)
    refused("unexpected ['blocks.9.query.x']")
    save_file({**whole, key: np.zeros((2, 2), "float32")}, weights)
    refused(f"`{key}` has shape (2, 2)")
    weights.write_bytes(weights.read_bytes()[:50])
    refused("cannot be read")
    (tmp_path / "a" / CONFIG_FILE).write_text('{"kind": "kzoo-adapter", "format": 99}')
    refused("pip install -U kzoo")
    (tmp_path / "a" / CONFIG_FILE).write_text('{"kind": "kzoo-adapter", "format": 1}')
    refused("incomplete")
    (tmp_path / "a" / CONFIG_FILE).write_text("{")
    refused("is not JSON")


def test_save_replaces_as_a_whole_and_spares_foreign_folders(trained, tmp_path):
    trained.adapters.save("default", tmp_path / "a")
    trained.adapters.save("default", tmp_path / "a", with_head=False)
    assert not (tmp_path / "a" / "head.safetensors").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]  # no temporary folder is left
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "chapter1.txt").write_text("years of work")
    with pytest.raises(AdapterError, match="no adapter folder"):
        trained.adapters.save("default", foreign)
    assert (foreign / "chapter1.txt").read_text() == "years of work"


def test_names(trained):
    adapters = trained.adapters
    with pytest.raises(AdapterError, match="is taken"):
        adapters.add("default", "lora")
    with pytest.raises(AdapterError, match="may hold letters"):
        adapters.add("a/b", "lora")
    with pytest.raises(AdapterError, match="Did you mean `default`"):
        adapters.activate("defualt")
    with pytest.raises(AdapterError, match="deactivate"):
        adapters.activate()
    adapters.delete("default")
    with pytest.raises(AdapterError, match="There are none"):
        adapters.delete("default")


def test_summary_counts(trained):
    trained.adapters.add("second", "lora[r=2]", activate=False)
    tables = []
    rows = trained.adapters.summary(print_fn=tables.append)
    assert [row["name"] for row in rows] == ["default", "second"]
    assert [row["active"] for row in rows] == [True, False]
    # Houlsby: 2 places x 2 blocks x (2*16*1 + 1 + 16); LoRA: 2 blocks x 2 targets x 2*(16+16).
    assert [row["parameters"] for row in rows] == [196, 256]
    assert len(tables) == 1


def test_inactive_adapters_are_not_trained(trained, reviews):
    trained.adapters.add("second", "lora")
    before = [np.asarray(v) for v in trained.adapters.variables("default").values()]
    trained.fit(*reviews, epochs=1, verbose=0)
    after = trained.adapters.variables("default").values()
    assert all((a == np.asarray(b)).all() for a, b in zip(before, after, strict=True))
    moved = trained.adapters.variables("second").values()
    assert all(np.abs(np.asarray(v)).max() > 0 for v in moved)


@pytest.mark.parametrize(
    "spec", ["bitfit", "lora[r=2,targets=all-linear]", "adalora[targets=all-linear]"]
)
@pytest.mark.parametrize("pooling", ["mean", "pooler"])
def test_a_pooler_that_is_not_used_is_not_trained(tiny_classifier, reviews, spec, pooling):
    model = tiny_classifier(spec, head={"pooling": pooling})
    count = model.adapters.count("default")
    before = {key: np.asarray(v) for key, v in model.adapters.variables("default").items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Gradients do not exist")
        model.fit(*reviews, epochs=1, batch_size=8, verbose=0)
    moved = {
        key.rpartition(".")[0]
        for key, v in model.adapters.variables("default").items()
        if (np.asarray(v) != before[key]).any()
    }
    assert ("pooler" in moved) == (pooling == "pooler")
    assert {"blocks.0.query", "blocks.1.ffn_output"} <= moved
    assert model.adapters.count("default") == count  # of all its parameters, as others count


def test_swap_keeps_compiled_functions(trained, tiny_classifier, tmp_path):
    trained.adapters.save("default", tmp_path / "a")
    server = tiny_classifier("houlsby", labels=("neg", "pos"))
    server.predict(TEXTS, verbose=0)
    compiled = server.predict_function
    traces = compiled.experimental_get_tracing_count()
    server.adapters.swap("default", tmp_path / "a")
    np.testing.assert_array_equal(
        server.predict(TEXTS, verbose=0), trained.predict(TEXTS, verbose=0)
    )
    assert server.predict_function is compiled
    assert compiled.experimental_get_tracing_count() == traces
    before = server.predict(TEXTS, verbose=0)
    trained.adapters.add("small", "houlsby[reduction_factor=8]")
    trained.adapters.save("small", tmp_path / "small")
    with pytest.raises(AdapterError, match="differs from `default` in `reduction_factor`"):
        server.adapters.swap("default", tmp_path / "small")
    other = tiny_classifier("houlsby", labels=("no", "yes"))
    with pytest.raises(AdapterError, match="other classes"):
        other.adapters.swap("default", tmp_path / "a")
    np.testing.assert_array_equal(server.predict(TEXTS, verbose=0), before)
