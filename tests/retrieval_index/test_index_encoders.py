"""Encoders: the built-in one, names, and what is refused."""

import types

import numpy as np
import pytest
from index_helpers import TableEncoder

from retrieval_index import ArgumentError, Encoder, EncoderError, HashingEncoder, resolve_encoder
from retrieval_index.encoders import registry
from retrieval_index.encoders.protocol import encode_passages, encode_queries


def test_hashing_is_the_signed_count_of_words():
    encoder = HashingEncoder(64)
    cat, dog, both = encoder.encode(["cat", "DOG", "Dog, cat; dog!"])
    assert np.abs(cat).sum() == np.abs(dog).sum() == 1
    np.testing.assert_array_equal(both, cat + 2 * dog)
    assert both.dtype == np.float32


def test_hashing_is_fixed_for_all_time():
    # Indexes on disk depend on it; change the fingerprint if this must change.
    places = HashingEncoder(256).encode(["the cat"])[0].nonzero()[0].tolist()
    assert (places, HashingEncoder(256).fingerprint) == ([167, 178], "hashing-v1:256:0")
    assert HashingEncoder(256, seed=1).encode(["the cat"])[0].nonzero()[0].tolist() != places


def test_hashing_survives_any_string():
    vectors = HashingEncoder(8).encode(["", " ", "\ud800", "日本", "\x00"])
    assert np.isfinite(vectors).all() and not vectors[0].any()


@pytest.mark.parametrize("arguments", [(0,), (8, -1), (8, 2**32), (8, True)])
def test_hashing_arguments(arguments):
    with pytest.raises(ArgumentError, match=r"`dimension`|`seed`"):
        HashingEncoder(*arguments)


@pytest.mark.parametrize(
    "name, fingerprint",
    [
        ("hashing", "hashing-v1:256:0"),
        ("hashing:32", "hashing-v1:32:0"),
        ("hashing:32:5", "hashing-v1:32:5"),
    ],
)
def test_hashing_by_name_and_back(name, fingerprint):
    encoder = resolve_encoder(name)
    assert encoder.fingerprint == fingerprint
    assert resolve_encoder(encoder.name).fingerprint == fingerprint
    assert isinstance(encoder, Encoder)


@pytest.mark.parametrize("name", ["hashing:x", "hashing:1:2:3", "hashing:-1"])
def test_hashing_name_malformed(name):
    with pytest.raises(EncoderError, match=f"received: '{name}'"):
        resolve_encoder(name)


class Point:
    """A stand-in for an entry point."""

    def __init__(self, name, loader):
        self.name = name
        self.value = f"fake.{name}:load"
        self._loader = loader

    def load(self):
        if isinstance(self._loader, Exception):
            raise self._loader
        return self._loader


@pytest.fixture
def points(monkeypatch):
    found = []
    monkeypatch.setattr(registry, "_entry_points", lambda: found)
    return found


def test_provider_gets_the_rest_of_the_name(points):
    asked = []
    points.append(Point("kzoo", lambda name: asked.append(name) or TableEncoder()))
    assert resolve_encoder("kzoo:a:b").fingerprint == "table-1"
    assert resolve_encoder(None).dimension == 24
    assert asked == ["a:b", "minilm-encoder"]


def test_unknown_provider_lists_the_known(points):
    points.append(Point("other", None))
    with pytest.raises(
        EncoderError,
        match=r"unknown provider 'nope'.*hashing, other, precomputed, sentence-transformers",
    ):
        resolve_encoder("nope:model")
    with pytest.raises(EncoderError, match="Run: pip install kzoo"):
        resolve_encoder(None)


def test_provider_that_cannot_be_imported(points):
    points.append(Point("kzoo", ImportError("no keras")))
    with pytest.raises(EncoderError, match=r"fake\.kzoo:load cannot be imported \(no keras\)"):
        resolve_encoder("kzoo:x")


def test_entry_points_of_the_group_are_used(monkeypatch):
    from importlib import metadata

    asked = []
    monkeypatch.setattr(metadata, "entry_points", lambda **kw: asked.append(kw) or [])
    assert registry.known_providers() == ["hashing", "precomputed", "sentence-transformers"]
    assert asked == [{"group": "retrieval_index.encoders"}]


def test_object_that_is_no_encoder_is_told_every_missing_part():
    thing = types.SimpleNamespace(encode=len, dimension=0, name="", max_tokens=None)
    with pytest.raises(EncoderError) as caught:
        resolve_encoder(thing)
    for part in ("`dimension`", "`fingerprint`", "`name`"):
        assert part in str(caught.value)
    assert "max_tokens" not in str(caught.value) and "encode(" not in str(caught.value)


class Returns(TableEncoder):
    def __init__(self, value):
        super().__init__(dimension=2)
        self.value = value

    def encode(self, texts):
        return self.value


@pytest.mark.parametrize(
    "value, message",
    [
        (np.zeros((1, 2), "f4"), r"shape \(2, 2\); received \(1, 2\)"),
        (np.zeros((2, 3), "f4"), r"received \(2, 3\)"),
        (np.zeros(2, "f4"), r"received \(2,\)"),
        (None, r"received \(\)"),
        (np.zeros((2, 2), "i4"), "dtype int32"),
        (np.array([["a", "b"]] * 2), "dtype <U1"),
        (np.array([[0, 1], [0, np.nan]], "f4"), "NaN or infinity for 'second'"),
        (np.array([[0, 1], [0, np.inf]], "f4"), "NaN or infinity for 'second'"),
    ],
)
def test_bad_output_is_refused(value, message):
    with pytest.raises(EncoderError, match=message):
        encode_passages(Returns(value), ["first", "second"], True)


def test_rows_are_scaled_to_length_one_and_zero_stays():
    value = np.array([[3, 4], [0, 0]], "f8")
    rows = encode_passages(Returns(value), ["a", "b"], True)
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0]], atol=1e-7)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(encode_passages(Returns(value), ["a", "b"], False), value)
    large = np.array([[3e30, 4e30]], "f4")  # its square overflows float32
    np.testing.assert_allclose(encode_passages(Returns(large), ["a"], True), [[0.6, 0.8]])


def test_queries_go_their_own_way_where_there_is_one():
    encoder = Returns(np.array([[1, 0]], "f4"))
    assert encode_queries(encoder, ["q"], True).tolist() == [[1, 0]]
    encoder.encode_queries = lambda texts: np.array([[0, 2]], "f4")
    assert encode_queries(encoder, ["q"], True).tolist() == [[0, 1]]
