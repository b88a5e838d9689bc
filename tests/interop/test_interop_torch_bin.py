"""The reader of PyTorch checkpoints: tensors exactly, and nothing else."""

import importlib
import pickle
import zipfile

import numpy as np
import pytest

from kzoo.errors import AdapterError
from kzoo.interop.files import read_torch_bin


def write(path, body, data=(), byteorder=b"little"):
    """A checkpoint with this pickle and these storages."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", body)
        archive.writestr("x/byteorder", byteorder)
        for key, values in data:
            archive.writestr(f"x/data/{key}", values)
    return path


def test_what_torch_wrote(tmp_path):
    torch = pytest.importorskip("torch")
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    state = {
        "plain": base,
        "transposed": base.T,
        "part": base[1:3, 2:],
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "half": base.half(),
        "brain": base.bfloat16(),
        "double": base.double(),
        "ints": torch.arange(5),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "truth": torch.tensor([True, False]),
        "parameter": torch.nn.Parameter(base + 1),
    }
    torch.save(state, tmp_path / "a.bin")
    found = read_torch_bin(tmp_path / "a.bin")
    assert list(found) == list(state)
    for key, value in state.items():
        expected = value.detach().float() if key == "brain" else value.detach()
        assert found[key].shape == tuple(value.shape)
        np.testing.assert_array_equal(found[key], expected.numpy())
    assert found["half"].dtype == np.float16 and found["ints"].dtype == np.int64


class Calls:
    """Pickles to a call of a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "name", ["builtins.eval", "builtins.print", "io.open", "numpy.frombuffer", "pickle.loads"]
)
def test_no_function_is_called(tmp_path, name):
    # Looked up now: libraries that are imported meanwhile put their own `print` in place.
    module, _, attribute = name.partition(".")
    function = getattr(importlib.import_module(module), attribute)
    body = pickle.dumps({"a": Calls(function, "1")})
    with pytest.raises(AdapterError, match=r"asks for `.*`, which is not allowed"):
        read_torch_bin(write(tmp_path / "a.bin", body))


def checkpoint(path, *sizes, kind="FloatStorage", data=b"\0" * 24):
    """A checkpoint of one tensor, written opcode by opcode where pickle would need torch."""
    opcodes = b"\x80\x02}U\x01ac" + b"torch._utils\n_rebuild_tensor_v2\n" + b"("
    opcodes += b"(U\x07storagec" + f"torch\n{kind}\n".encode() + b"U\x010U\x03cpuK\x06tQ"
    opcodes += b"".join(pickle.dumps(size, 2)[2:-1] for size in sizes) + b"tRs."
    return write(path, opcodes, [("0", data)])


def test_a_tensor_by_hand(tmp_path):
    data = np.arange(6, dtype="<f4").tobytes()
    path = checkpoint(tmp_path / "a.bin", 0, (2, 3), (3, 1), data=data)
    np.testing.assert_array_equal(read_torch_bin(path)["a"], np.arange(6).reshape(2, 3))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, (7,), (1,)), "larger than its storage"),
        ((5, (2,), (1,)), "larger than its storage"),
        ((0, (2, 3), (100, 1)), "larger than its storage"),
        ((-1, (2,), (1,)), "without valid sizes"),
        ((0, (2,), (-1,)), "without valid sizes"),
        ((0, (2, 3), (1,)), "number of strides"),
    ],
)
def test_sizes_that_would_read_elsewhere(tmp_path, sizes, message):
    with pytest.raises(AdapterError, match=message):
        read_torch_bin(checkpoint(tmp_path / "a.bin", *sizes))


def test_other_files(tmp_path):
    for name, body in (("text", b"hello"), ("pickle", pickle.dumps({}))):
        (tmp_path / name).write_bytes(body)
        with pytest.raises(AdapterError, match="no PyTorch checkpoint"):
            read_torch_bin(tmp_path / name)
    with pytest.raises(AdapterError, match="cannot be read"):
        read_torch_bin(tmp_path / "missing")
    for value, message in (([1], "holds a list"), ({"a": 1}, "`a` is a int")):
        with pytest.raises(AdapterError, match=message):
            read_torch_bin(write(tmp_path / "a.bin", pickle.dumps(value)))
    with pytest.raises(AdapterError, match=r"asks for `torch\.load`"):
        read_torch_bin(checkpoint(tmp_path / "b.bin", 0, (1,), (1,), kind="load"))
    with pytest.raises(AdapterError, match="no PyTorch checkpoint"):
        read_torch_bin(write(tmp_path / "d.bin", b"\x80\x02}U\x01ahs."))
    with pytest.raises(AdapterError, match="big-endian"):
        read_torch_bin(write(tmp_path / "c.bin", pickle.dumps({}), byteorder=b"big"))
