"""GGUF files give what an HF folder of the same weights gives; what is not read is refused."""

import json
from itertools import pairwise

import numpy as np
import pytest
from tokenizers import Tokenizer

from kzoo.backbones.gguf_file import ARCHITECTURES, GGUFFile
from kzoo.backbones.loading import load_pretrained
from kzoo.errors import WeightsError

gguf = pytest.importorskip("gguf")
from gguf import GGMLQuantizationType as Type  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402

LAYERS, HEADS, GROUPS, WIDTH, INNER = 2, 4, 2, 256, 256
LETTERS = [chr(number) for number in range(ord("a"), ord("z") + 1)]
BYTE_PAIRS = ["<|endoftext|>", "<|im_end|>", *LETTERS, "Ġ", *"0123456789", "ab", "abc", "Ġa", "12"]
MERGES = ["a b", "ab c", "Ġ a", "1 2"]
WORD_PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁ab", "c", "d", "▁e", "▁x"]
PIECES = ["<unk>", "<s>", "</s>", "<0x0A>", "▁", *"abcd", "ab", "bc", "abc", "▁a", "cd", "▁abcd"]
SCORES = [0.0] * 4 + [-9.0, *[-8.0] * 4, -2.0, -1.0, -3.0, -4.0, -2.5, -0.5]


def config(architecture):
    """As HF's config.json says it."""
    if architecture == "bert":
        return {
            "model_type": "bert",
            "vocab_size": len(WORD_PIECES),
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "hidden_size": WIDTH,
            "intermediate_size": INNER,
            "max_position_embeddings": 16,
            "layer_norm_eps": 1e-5,
        }
    pieces = PIECES if architecture == "gemma" else BYTE_PAIRS
    own = {"head_dim": 32} if architecture in ("gemma", "qwen3") else {}
    return {
        "model_type": architecture,
        "vocab_size": len(pieces),
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": GROUPS,
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "max_position_embeddings": 16,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": architecture != "qwen2",
        **own,
    }


def shapes(architecture):
    """GGUF's name of each tensor and its shape, rows first."""
    facts = config(architecture)
    if architecture == "bert":
        yield from (("position_embd.weight", (16, WIDTH)), ("token_types.weight", (2, WIDTH)))
        yield from (("token_embd_norm.weight", (WIDTH,)), ("token_embd_norm.bias", (WIDTH,)))
    else:
        yield "output_norm.weight", (WIDTH,)
        if not facts["tie_word_embeddings"]:
            yield "output.weight", (facts["vocab_size"], WIDTH)
    yield "token_embd.weight", (facts["vocab_size"], WIDTH)
    size = facts.get("head_dim", WIDTH // HEADS)
    rows = {"q": HEADS * size, "k": GROUPS * size, "v": GROUPS * size}
    for i in range(LAYERS):
        if architecture == "bert":
            for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down"):
                yield f"blk.{i}.{part}.weight", (WIDTH, WIDTH)
                yield f"blk.{i}.{part}.bias", (WIDTH,)
            for norm in ("attn_output_norm", "layer_output_norm"):
                yield f"blk.{i}.{norm}.weight", (WIDTH,)
                yield f"blk.{i}.{norm}.bias", (WIDTH,)
            continue
        for part, height in rows.items():
            yield f"blk.{i}.attn_{part}.weight", (height, WIDTH)
            if architecture == "qwen2":
                yield f"blk.{i}.attn_{part}.bias", (height,)
        yield f"blk.{i}.attn_output.weight", (WIDTH, HEADS * size)
        for part in ("ffn_gate", "ffn_up", "ffn_down"):
            yield f"blk.{i}.{part}.weight", (INNER, WIDTH)
        norms = ["attn_norm", "ffn_norm"]
        for norm in norms:
            yield f"blk.{i}.{norm}.weight", (WIDTH,)
        if architecture == "qwen3":
            for norm in ("attn_q_norm", "attn_k_norm"):
                yield f"blk.{i}.{norm}.weight", (size,)


def stored(values, kind):
    """What a file of a type keeps of values, and its bytes."""
    if values.ndim == 1:
        return values, values, Type.F32
    if kind in (Type.Q4_K, Type.Q6_K):  # gguf writes none of these; any bytes are a value
        _, size = gguf.GGML_QUANT_SIZES[kind]
        raw = np.random.default_rng(values.size).integers(0, 255, (len(values), size), "uint8")
        scale = np.full((len(values), 1), 0.002 if kind == Type.Q4_K else 0.0002, "float16")
        if kind == Type.Q4_K:
            raw[:, :4] = np.hstack([scale, scale]).view("uint8")
        else:
            raw[:, -2:] = scale.view("uint8")
    else:
        raw = gguf.quantize(values, kind)
    return gguf.dequantize(raw, kind).astype("float32"), raw, kind


def write(path, architecture, kind, **facts):
    """Writes a GGUF file; gives the same tensors under HF's names, in HF's order of rows."""
    hf = config(architecture)
    writer = gguf.GGUFWriter(path, facts.pop("named", architecture))
    writer.add_block_count(LAYERS)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_context_length(16)
    if architecture == "bert":
        writer.add_layer_norm_eps(1e-5)
    else:
        writer.add_head_count_kv(GROUPS)
        writer.add_layer_norm_rms_eps(1e-5)
        if "head_dim" in hf:
            writer.add_key_length(hf["head_dim"])
    tokenizer(writer, architecture, facts)
    if "fact" in facts:
        writer.add_uint32(*facts.pop("fact"))
    rng = np.random.default_rng(0)
    tensors = {}
    for name, shape in shapes(architecture):
        drawn = rng.normal(1.0 if "norm" in name and "weight" in name else 0.0, 0.1, shape)
        values, raw, own = stored(drawn.astype("float32"), kind)
        writer.add_tensor(name, raw, raw_dtype=own)
        if architecture == "llama" and (".attn_q." in name or ".attn_k." in name):
            heads = HEADS if "_q" in name else GROUPS
            pairs = values.reshape(heads, -1, 2, WIDTH)  # neighbours are rotated together
            values = np.concatenate([pairs[:, :, 0], pairs[:, :, 1]], 1).reshape(values.shape)
        if architecture == "gemma" and "norm" in name:
            values = values - 1.0
        module, last = name.rsplit(".", 1)
        form = ARCHITECTURES[architecture].names
        parts = module.split(".")
        if parts[0] == "blk":
            module = form["blk.{i}." + parts[2]].replace("{i}", parts[1])
        else:
            module = form[module]
        tensors[f"{module}.{last}"] = np.ascontiguousarray(values)
    for name, shape in facts.items():
        writer.add_tensor(name, np.zeros(shape, "float32"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors


def tokenizer(writer, architecture, facts):
    if architecture == "bert":
        writer.add_tokenizer_model("bert")
        writer.add_token_list(WORD_PIECES)
    elif architecture == "gemma":
        writer.add_tokenizer_model("llama")
        writer.add_token_list(PIECES)
        writer.add_token_scores(SCORES)
        writer.add_token_types([2, 3, 3, 6, *[1] * (len(PIECES) - 4)])
        writer.add_bos_token_id(1)
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(facts.pop("pre", "smollm"))
        writer.add_token_list(BYTE_PAIRS)
        writer.add_token_types([3, 3, *[1] * (len(BYTE_PAIRS) - 2)])
        if merges := facts.pop("merges", MERGES):
            writer.add_token_merges(merges)
        writer.add_chat_template("{{ messages }}")


CASES = {
    "llama": [Type.F32, Type.Q8_0, Type.Q4_K],
    "qwen2": [Type.Q4_1],
    "qwen3": [Type.BF16],
    "gemma": [Type.Q4_0],
    "bert": [Type.F16, Type.Q6_K],
}


def test_every_architecture_is_tried():
    assert set(CASES) == set(ARCHITECTURES)


@pytest.mark.parametrize(("architecture", "kind"), [(a, k) for a in CASES for k in CASES[a]])
def test_a_file_is_as_the_folder(architecture, kind, tmp_path):
    tensors = write(tmp_path / "m.gguf", architecture, kind)
    folder = tmp_path / "hf"
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config(architecture)))
    loaded = load_pretrained(str(tmp_path / "m.gguf"))
    (folder / "tokenizer.json").write_text(loaded.tokenizer_json)
    other = load_pretrained(str(folder))
    assert loaded.family is other.family
    ids = np.asarray([[3, 5, 4, 6, 7], [4, 4, 8, 0, 0]], "int32")
    given = {"token_ids": ids, "padding_mask": (ids > 0).astype("int32")}
    if architecture == "bert":
        given["segment_ids"] = np.asarray([[0, 0, 1, 1, 1], [0] * 5], "int32")
    found, expected = loaded.backbone(given), other.backbone(given)
    for a, b in zip(_flat(found), _flat(expected), strict=True):
        np.testing.assert_array_equal(a, b)
    if architecture != "bert":
        pair = [
            np.asarray(m.backbone.token_embedding(found, reverse=True)) for m in (loaded, other)
        ]
        np.testing.assert_array_equal(*pair)


def _flat(outputs):
    return [np.asarray(v) for v in (outputs.values() if isinstance(outputs, dict) else [outputs])]


# --- Tokenizers ------------------------------------------------------------------------------


def tokens(path, text):
    return Tokenizer.from_str(GGUFFile(path).tokenizer_json()).encode(text).tokens


def test_byte_pairs(tmp_path):
    write(tmp_path / "m.gguf", "llama", Type.F32)
    assert tokens(tmp_path / "m.gguf", "abc ab12<|im_end|>") == [
        *("abc", "Ġ", "ab", "1", "2", "<|im_end|>")  # digits stand alone
    ]
    write(tmp_path / "n.gguf", "llama", Type.F32, pre="gpt-2")
    assert tokens(tmp_path / "n.gguf", "12") == ["12"]
    assert GGUFFile(tmp_path / "n.gguf").chat()["template"] == "{{ messages }}"


def best_first(text):
    """SentencePiece's rule by hand: ever again the neighbours whose sum has the best score."""
    parts = list("▁" + text.replace(" ", "▁"))
    while True:
        sums = [(a + b, i) for i, (a, b) in enumerate(pairwise(parts))]
        known = [(SCORES[PIECES.index(s)], -i) for s, i in sums if s in PIECES]
        if not known:
            return parts
        place = -max(known)[1]
        parts[place : place + 2] = [parts[place] + parts[place + 1]]


@pytest.mark.parametrize("text", ["abc", "abcd", "dabc abcd", "bcd ab", "cdcd a b"])
def test_sentence_pieces(text, tmp_path):
    write(tmp_path / "m.gguf", "gemma", Type.F32)
    assert tokens(tmp_path / "m.gguf", text) == ["<s>", *best_first(text)]
    made = Tokenizer.from_str(GGUFFile(tmp_path / "m.gguf").tokenizer_json())
    assert made.decode(made.encode(text + "\n").ids) == text + "\n"


def test_word_pieces(tmp_path):
    write(tmp_path / "m.gguf", "bert", Type.F32)
    assert tokens(tmp_path / "m.gguf", "AbcD x é") == [
        *("[CLS]", "ab", "##c", "##d", "x", "e", "[SEP]")
    ]


# --- Refusals --------------------------------------------------------------------------------


def test_what_cannot_be_read_is_said(tmp_path):
    path = tmp_path / "m.gguf"
    write(path, "llama", Type.F32, named="mamba")
    with pytest.raises(WeightsError, match=r"architecture 'mamba'.*Supported: llama"):
        load_pretrained(str(path))
    write(path, "llama", Type.F32, **{"rope_freqs.weight": (4,)})
    with pytest.raises(WeightsError, match=r"`rope_freqs\.weight`, which kzoo does not know"):
        load_pretrained(str(path))
    write(path, "llama", Type.F32, pre="tekken")
    with pytest.raises(WeightsError, match="splits words as 'tekken'"):
        load_pretrained(str(path))
    write(path, "llama", Type.F32, **{"blk.0.attn_q.bias": (WIDTH,)})
    with pytest.raises(WeightsError, match=r"`blk\.0\.attn_q\.bias`, for which a llama trunk"):
        load_pretrained(str(path))
    write(path, "llama", Type.F32, fact=("llama.rope.dimension_count", 32))
    with pytest.raises(WeightsError, match="turns 32 of the 64"):
        load_pretrained(str(path))
    write(path, "llama", Type.F32, merges=[])
    with pytest.raises(WeightsError, match="without merges"):
        load_pretrained(str(path))
    write(path, "llama", Type.F32, merges=["no token"])
    with pytest.raises(WeightsError, match=r"tokenizer in .* is broken"):
        load_pretrained(str(path))
    write(path, "llama", Type.F32)
    whole = path.read_bytes()
    for part in (whole[: len(whole) // 2], whole[:40], b"", b"GGML" + whole[4:]):
        path.write_bytes(part)
        with pytest.raises(WeightsError, match="no whole GGUF file"):
            load_pretrained(str(path))
    with pytest.raises(WeightsError, match=r"\.gguf file"):
        load_pretrained(str(tmp_path / "none.gguf"))
