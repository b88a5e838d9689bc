"""AdapterHub's folders: its own files give its own hidden states, and ours have its keys."""

import json
import shutil
import warnings

import numpy as np
import pytest
from hub_golden import CASES, EXPECTED, GOLDEN, golden_backbone, hidden_states, inputs, keys_of

import kzoo
from kzoo.errors import AdapterError
from kzoo.interop import InteropWarning

# Written in another form than the library's own, of the same function: VeRA as LoRA, DiReFT as
# NoReFT; orthogonal matrices have many parametrisations.
OTHER_FORM = ("vera", "dvora", "direft", "loreft", "loreft_tied")


@pytest.fixture(scope="module")
def golden():
    """(backbone, its adapters)."""
    backbone, _ = golden_backbone()
    return backbone, kzoo.adapt(backbone)


@pytest.fixture(autouse=True)
def _nothing_left(request):
    yield
    if "golden" in request.fixturenames:
        _, adapters = request.getfixturevalue("golden")
        for name in list(adapters):
            adapters.delete(name)


def test_the_trunk_is_the_same(golden):
    np.testing.assert_allclose(hidden_states(*golden), EXPECTED["trunk"], atol=1e-5)


def test_all_methods_are_there():
    assert len(CASES) == 28
    pickled = [name for name in CASES if (GOLDEN / name / "pytorch_adapter.bin").is_file()]
    assert len(pickled) >= 5


@pytest.mark.parametrize("name", CASES)
def test_read_and_written(golden, name, tmp_path):
    backbone, adapters = golden
    direft = True if name == "direft" else None
    with warnings.catch_warnings():
        warnings.simplefilter("error", InteropWarning)
        if name == "noreft":
            warnings.simplefilter("ignore", InteropWarning)
        assert adapters.load_adapterhub(GOLDEN / name, direft=direft) == "a"
    found = hidden_states(backbone, adapters)
    np.testing.assert_allclose(found, EXPECTED[name], atol=1e-5)
    assert np.abs(found[:, -6:] - EXPECTED["trunk"]).max() > 0.1  # it does something

    # Our file has the library's keys and tensors, but for the copies that its modules share.
    adapters.save_adapterhub("a", tmp_path / "own")
    theirs, ours = keys_of(GOLDEN / name), keys_of(tmp_path / "own")
    if name not in OTHER_FORM:
        start = "" if name != "double_seq_bn" else "bert."  # saved from a model without a head
        theirs = {start + key: value for key, value in theirs.items() if ".pool." not in key}
        assert set(ours) == set(theirs)
        idle = ".units.1." if name == "noreft" else "nothing"
        for key, value in theirs.items():
            if idle not in key:
                np.testing.assert_allclose(ours[key], value, atol=1e-6, err_msg=key)
    with warnings.catch_warnings():
        warnings.simplefilter("error", InteropWarning)
        adapters.load_adapterhub(tmp_path / "own", "again", activate=False)
    one, other = adapters.variables("a"), adapters.variables("again")
    if name != "direft":
        assert adapters.configs["again"] == adapters.configs["a"]
        for key, variable in one.items():
            value, again = np.asarray(variable), np.asarray(other[key])
            np.testing.assert_allclose(value, again, atol=1e-5, err_msg=key)
    else:
        assert adapters.configs["again"].method == "noreft"
    adapters.activate("again")
    np.testing.assert_allclose(hidden_states(backbone, adapters), EXPECTED[name], atol=1e-5)


def test_written_parametrisation_is_torchs(golden):
    """The formula of torch's orthogonal parametrisation, done by hand on our file."""
    from kzoo.interop.adapterhub.reft import orthogonal, parametrised

    rng = np.random.default_rng(0)
    free = np.linalg.qr(rng.normal(size=(6, 2)))[0]
    original, base = parametrised([free])
    np.testing.assert_allclose(base.T @ base, np.eye(6), atol=1e-6)
    # One reflection a column: with nothing below the diagonal, Q is -I times the signs.
    np.testing.assert_allclose(original, -np.eye(2, 6))
    np.testing.assert_allclose(base[:, :2], free, atol=1e-6)
    np.testing.assert_allclose(orthogonal([original, base])[0], free, atol=1e-6)
    moved = original + np.triu(rng.normal(size=(2, 6)), 1)
    q = orthogonal([moved, base])[0]
    np.testing.assert_allclose(q.T @ q, np.eye(2), atol=1e-6)
    square = orthogonal([rng.normal(size=(3, 3)), np.eye(3)])[0]
    np.testing.assert_allclose(square.T @ square, np.eye(3), atol=1e-6)


def test_lost_orthogonality_is_computed_as_it_is(golden, tmp_path):
    """Weight decay turns the signs on the diagonal into zeros: the library then drops a row."""
    from safetensors.numpy import load_file, save_file

    shutil.copytree(GOLDEN / "loreft", tmp_path / "a")
    tensors = load_file(tmp_path / "a" / "adapter.safetensors")
    for key, value in tensors.items():
        if key.endswith(".original"):
            value[0, 0] = -0.99
    save_file(tensors, tmp_path / "a" / "adapter.safetensors")
    _, adapters = golden
    adapters.load_adapterhub(tmp_path / "a", activate=False)
    config = adapters.configs["a"]
    assert (config.method, config.orthogonal) == ("noreft", False)
    projection = np.asarray(adapters.variables("a")["blocks.0.block.prefix_projection"])
    assert np.abs(projection[:, 0]).max() == 0 and np.abs(projection[:, 1]).max() > 0


def test_noreft_may_be_direft(golden):
    _, adapters = golden
    with pytest.warns(InteropWarning, match="NoReFT or DiReFT"):
        adapters.load_adapterhub(GOLDEN / "direft", activate=False)
    assert adapters.configs["a"].method == "noreft"


# --- Compositions --------------------------------------------------------------------------


def test_fusion(golden):
    backbone, adapters = golden
    composition = adapters.load_adapterhub_setup(GOLDEN / "fusion")
    assert composition == kzoo.Fuse("a", "b") and set(adapters) == {"a", "b", "a-b"}
    np.testing.assert_allclose(hidden_states(backbone, adapters), EXPECTED["fusion"], atol=1e-5)


def test_stack(golden, tmp_path):
    """Pfeiffer's adapters share the norm of their block; one around the other, they would not."""
    backbone, adapters = golden
    shutil.copytree(GOLDEN / "fusion", tmp_path / "setup")
    shutil.copy(GOLDEN / "setup" / "adapter_setup.json", tmp_path / "setup")
    assert adapters.load_adapterhub_setup(tmp_path / "setup") == kzoo.Stack("b", "a")
    np.testing.assert_allclose(hidden_states(backbone, adapters), EXPECTED["setup"], atol=1e-5)


def test_stacks_that_would_act_in_another_order(golden, tmp_path):
    """In the library, both adapters of a feed-forward part stand at one place; here they do not."""
    _, adapters = golden
    for name, source in (("b", "seq_bn"), ("a", "double_seq_bn")):
        shutil.copytree(GOLDEN / source, tmp_path / name)
    shutil.copy(GOLDEN / "setup" / "adapter_setup.json", tmp_path)  # Stack("b", "a")
    with pytest.raises(AdapterError, match="the opposite order here"):
        adapters.load_adapterhub_setup(tmp_path)
    assert list(adapters) == []
    shutil.move(tmp_path / "b", tmp_path / "c")
    shutil.move(tmp_path / "a", tmp_path / "b")
    shutil.move(tmp_path / "c", tmp_path / "a")
    assert adapters.load_adapterhub_setup(tmp_path) == kzoo.Stack("b", "a")


def test_other_compositions(tmp_path):
    from kzoo.interop.adapterhub.setups import read_setup

    assert read_setup(GOLDEN / "setup") == kzoo.Stack("b", "a")

    def single(name):
        return {"type": "single", "children": [name]}

    def read(setup):
        (tmp_path / "adapter_setup.json").write_text(json.dumps({"adapter_setup": setup}))
        return read_setup(tmp_path)

    children = [single("a"), single("b")]
    assert read(single("a")) == "a"
    mean = {"type": "Average", "children": children, "kwargs": {"weights": [0.25, 0.5]}}
    with pytest.warns(InteropWarning, match="divides what it computes by 2 once more"):
        assert read(mean) == kzoo.Average("a", "b", weights=[0.25, 0.5], normalize=False)
    split = {"type": "Split", "children": children, "kwargs": {"splits": [3, -1]}}
    assert read({"type": "Stack", "children": [single("c"), split]}) == kzoo.Stack(
        "c", kzoo.Split("a", "b", splits=[3, -1])
    )
    rows = {"type": "BatchSplit", "children": children, "kwargs": {"batch_sizes": [1, 1]}}
    assert read(rows) == kzoo.BatchSplit("a", "b", batch_sizes=[1, 1])
    assert read({"type": "Parallel", "children": children}) == kzoo.Parallel("a", "b")
    with pytest.raises(AdapterError, match="'MultiTask' cannot be read"):
        read({"type": "MultiTask", "children": children})


def test_a_broken_setup_changes_nothing(golden, tmp_path):
    backbone, adapters = golden
    shutil.copytree(GOLDEN / "fusion", tmp_path / "setup")
    (tmp_path / "setup" / "a,b" / "model_adapter_fusion.safetensors").unlink()
    with pytest.raises(AdapterError, match="has none of model_adapter_fusion"):
        adapters.load_adapterhub_setup(tmp_path / "setup")
    assert list(adapters) == [] and adapters.active == ()
    before = np.asarray(backbone(inputs())["sequence_output"])
    np.testing.assert_allclose(before, EXPECTED["trunk"], atol=1e-5)
