"""GGUF, llama.cpp's format: one file that says what an HF folder says, under other names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.errors import WeightsError

# HF key -> GGUF key behind the architecture's name.
_DECODER_KEYS = {
    "num_hidden_layers": "block_count",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "max_position_embeddings": "context_length",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "rope_theta": "rope.freq_base",
    "head_dim": "attention.key_length",
}
_DECODER_NAMES = {
    "token_embd": "embed_tokens",
    "output_norm": "norm",
    "output": "lm_head",
    "blk.{i}.attn_norm": "layers.{i}.input_layernorm",
    "blk.{i}.attn_q": "layers.{i}.self_attn.q_proj",
    "blk.{i}.attn_k": "layers.{i}.self_attn.k_proj",
    "blk.{i}.attn_v": "layers.{i}.self_attn.v_proj",
    "blk.{i}.attn_q_norm": "layers.{i}.self_attn.q_norm",
    "blk.{i}.attn_k_norm": "layers.{i}.self_attn.k_norm",
    "blk.{i}.attn_output": "layers.{i}.self_attn.o_proj",
    "blk.{i}.ffn_norm": "layers.{i}.post_attention_layernorm",
    "blk.{i}.ffn_gate": "layers.{i}.mlp.gate_proj",
    "blk.{i}.ffn_up": "layers.{i}.mlp.up_proj",
    "blk.{i}.ffn_down": "layers.{i}.mlp.down_proj",
}
_BERT_KEYS = {
    "num_hidden_layers": "block_count",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "max_position_embeddings": "context_length",
    "layer_norm_eps": "attention.layer_norm_epsilon",
}
_BERT_NAMES = {
    "token_embd": "embeddings.word_embeddings",
    "position_embd": "embeddings.position_embeddings",
    "token_types": "embeddings.token_type_embeddings",
    "token_embd_norm": "embeddings.LayerNorm",
    "blk.{i}.attn_q": "encoder.layer.{i}.attention.self.query",
    "blk.{i}.attn_k": "encoder.layer.{i}.attention.self.key",
    "blk.{i}.attn_v": "encoder.layer.{i}.attention.self.value",
    "blk.{i}.attn_output": "encoder.layer.{i}.attention.output.dense",
    "blk.{i}.attn_output_norm": "encoder.layer.{i}.attention.output.LayerNorm",
    "blk.{i}.ffn_up": "encoder.layer.{i}.intermediate.dense",
    "blk.{i}.ffn_down": "encoder.layer.{i}.output.dense",
    "blk.{i}.layer_output_norm": "encoder.layer.{i}.output.LayerNorm",
}
_SIZES = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads")
Change = Callable[[NDArray[Any], Mapping[str, Any]], NDArray[Any]]


def _half_split(heads: str) -> Change:
    """Undoes llama.cpp's order of a query's or key's rows, for rotations of neighbours."""

    def change(rows: NDArray[Any], config: Mapping[str, Any]) -> NDArray[Any]:
        split = rows.reshape(config[heads], -1, 2, *rows.shape[1:])
        return np.ascontiguousarray(split.swapaxes(1, 2)).reshape(rows.shape)

    return change


def _less_one(scale: NDArray[Any], config: Mapping[str, Any]) -> NDArray[Any]:
    """Gemma's norms multiply by one more than HF's file says; llama.cpp has added it."""
    return scale - 1.0


@dataclass(frozen=True)
class Form:
    """How an architecture is written.

    Args:
        family: HF's `model_type`.
        keys: HF key -> GGUF key.
        names: Module in GGUF -> module in HF.
        changes: Part of a module's GGUF name -> what is done to its tensors.
        config: Further HF facts.
    """

    family: str
    keys: Mapping[str, str] = field(default_factory=lambda: _DECODER_KEYS)
    names: Mapping[str, str] = field(default_factory=lambda: _DECODER_NAMES)
    changes: Mapping[str, Change] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


#: `general.architecture` -> its form. llama.cpp writes Mistral as llama.
ARCHITECTURES = {
    "llama": Form(
        "llama",
        changes={
            "attn_q": _half_split("num_attention_heads"),
            "attn_k": _half_split("num_key_value_heads"),
        },
    ),
    "qwen2": Form("qwen2"),
    "qwen3": Form("qwen3"),
    "gemma": Form("gemma", changes={"norm": _less_one}, config={"tie_word_embeddings": True}),
    "bert": Form("bert", _BERT_KEYS, _BERT_NAMES),
}


class GGUFFile:
    """The config, tensors and tokenizer of a GGUF file, in HF's words.

    Stands where `kzoo.backbones.hf_weights.Tensors` stands for a folder: `name in file`,
    `file[name]`, by HF's names behind the model's prefix. Quantised tensors are read as float32.

    Args:
        path: The file; https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.

    Attributes:
        config: As HF's `config.json`, with `model_type`.

    Raises:
        WeightsError: It cannot be read, or holds what kzoo has no trunk for.
    """

    def __init__(self, path: Path) -> None:
        try:
            from gguf import GGUFReader
        except ImportError:
            raise WeightsError(f"Reading {path.name} needs gguf. Run: pip install gguf") from None
        self.folder = path  # what messages name
        try:
            self._reader = GGUFReader(path)
        except Exception as error:  # the reader trusts the file, and raises whatever comes of it
            raise WeightsError(
                f"{path} is no whole GGUF file ({type(error).__name__}). Fetch it again."
            ) from error
        name = self._fact("general.architecture")
        if name not in ARCHITECTURES:
            raise WeightsError(
                f"{path} has the architecture {name!r}, for which kzoo has no trunk. "
                f"Supported: {', '.join(ARCHITECTURES)}."
            )
        self.form = ARCHITECTURES[name]
        self._where = {self._hf_name(tensor.name): tensor for tensor in self._reader.tensors}
        self._unread = set(self._where)
        self.config = self._config(name)

    def _fact(self, key: str) -> Any:
        found = self._reader.fields.get(key)
        return None if found is None else found.contents()

    def _hf_name(self, name: str) -> str:
        module, _, last = name.rpartition(".")
        number = re.match(r"blk\.(\d+)\.", module)
        plain = re.sub(r"^blk\.\d+\.", "blk.{i}.", module)
        if plain not in self.form.names:
            raise WeightsError(
                f"{self.folder} has a tensor `{name}`, which kzoo does not know: the model is not "
                "read rather than read without it."
            )
        known = self.form.names[plain].replace("{i}", number[1] if number else "")
        return f"{known}.{last}"

    def _config(self, architecture: str) -> dict[str, Any]:
        facts = {hf: self._fact(f"{architecture}.{key}") for hf, key in self.form.keys.items()}
        lacking = [self.form.keys[key] for key in _SIZES if facts.get(key) is None]
        if lacking:
            raise WeightsError(f"{self.folder} does not say `{architecture}.{lacking[0]}`.")
        facts = {key: value for key, value in facts.items() if value is not None}
        embeddings = self._where.get(f"{self.form.names['token_embd']}.weight")
        if embeddings is None:
            raise WeightsError(f"{self.folder} has no tensor `token_embd.weight`.")
        facts["vocab_size"] = int(embeddings.shape[1])
        if "embeddings.token_type_embeddings.weight" in self._where:
            segments = self._where["embeddings.token_type_embeddings.weight"]
            facts["type_vocab_size"] = int(segments.shape[1])
        if "num_attention_heads" in facts and "rms_norm_eps" in facts:
            facts.setdefault("num_key_value_heads", facts["num_attention_heads"])
            facts["tie_word_embeddings"] = "lm_head.weight" not in self._where
        scaling = self._fact(f"{architecture}.rope.scaling.type")
        if scaling not in (None, "none"):
            factor = self._fact(f"{architecture}.rope.scaling.factor")
            facts["rope_scaling"] = {"rope_type": scaling, "factor": factor}
        turned = self._fact(f"{architecture}.rope.dimension_count")
        if "rms_norm_eps" in self.form.keys and turned is not None:
            size = facts.get("head_dim") or facts["hidden_size"] // facts["num_attention_heads"]
            if turned != size:
                raise WeightsError(
                    f"{self.folder} turns {turned} of the {size} numbers of a head "
                    "(rope.dimension_count); kzoo's trunks turn all."
                )
        return {"model_type": self.form.family, **facts, **self.form.config}

    def chat(self) -> dict[str, str]:
        """See `kzoo.backbones.chat.rendered`."""
        tokens, found = self._fact("tokenizer.ggml.tokens"), {}
        for name in ("bos", "eos"):
            number = self._fact(f"tokenizer.ggml.{name}_token_id")
            if number is not None:
                found[f"{name}_token"] = tokens[number]
        template = self._fact("tokenizer.chat_template")
        return found if template is None else {"template": template, **found}

    # --- Tensors -----------------------------------------------------------------------------

    def __contains__(self, name: str) -> bool:
        return name in self._where

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        from gguf import dequantize

        if name not in self._where:
            raise WeightsError(f"{self.folder} has no tensor for `{name}`.")
        tensor = self._where[name]
        self._unread.discard(name)
        try:
            values = dequantize(tensor.data, tensor.tensor_type)
        except NotImplementedError:
            raise WeightsError(
                f"`{tensor.name}` in {self.folder} is of type {tensor.tensor_type.name}, which is "
                "not read. Take a file of type Q8_0, Q4_0, Q4_1, Q4_K, Q6_K, F16 or BF16."
            ) from None
        values = np.asarray(values, "float32")
        module = tensor.name.rpartition(".")[0].rpartition(".")[2]
        for part, change in self.form.changes.items():
            if module == part or module.endswith(f"_{part}"):
                values = change(values, self.config)
        return values

    def check_all_read(self) -> None:
        """Raises where a tensor was not asked for: the trunk has no place for it."""
        if self._unread:
            left = self._where[min(self._unread)].name
            raise WeightsError(
                f"{self.folder} has a tensor `{left}`, for which a {self.form.family} trunk has no "
                "place: the model is not read rather than read without it."
            )

    # --- Tokenizer ---------------------------------------------------------------------------

    def tokenizer_json(self) -> str:
        """The HF tokenizer as JSON text.

        Raises:
            WeightsError: The file has none, or one of a kind that is not rebuilt.
        """
        kind, tokens = self._fact("tokenizer.ggml.model"), self._fact("tokenizer.ggml.tokens")
        makers: dict[Any, Callable[[list[str]], Any]] = {
            "gpt2": self._byte_pairs,
            "llama": self._sentence_piece,
            "bert": self._word_pieces,
        }
        if kind not in makers or not tokens:
            raise WeightsError(
                f"{self.folder} has a tokenizer of kind {kind!r}. Known: {', '.join(makers)}. "
                "Pass an HF folder with tokenizer.json."
            )
        if kind != "bert" and self._fact("tokenizer.ggml.add_eos_token"):
            raise WeightsError(
                f"{self.folder} asks for an end token behind every text (add_eos_token), prompts "
                "included, which kzoo's language models do not write."
            )
        try:
            return str(makers[kind](tokens))
        except WeightsError:
            raise
        except Exception as error:  # the Rust side raises bare Exception
            raise WeightsError(f"The tokenizer in {self.folder} is broken: {error}") from error

    def _byte_pairs(self, tokens: list[str]) -> str:
        from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

        written = self._fact("tokenizer.ggml.merges")
        if not written:
            raise WeightsError(f"{self.folder} has a byte-pair tokenizer without merges.")
        merges = [(a, b) for a, _, b in map(_halves, written)]
        split = self._fact("tokenizer.ggml.pre") or "default"
        places = {token: i for i, token in enumerate(tokens)}
        # Llama 3 takes a word that is a token whole, whatever its merges.
        whole_words = split == "llama-bpe"
        tokenizer = Tokenizer(models.BPE(places, merges, ignore_merges=whole_words))
        whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        if split == "smollm":
            digits = pre_tokenizers.Digits(individual_digits=True)
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, whole])
        elif split in ("gpt-2", "default"):
            tokenizer.pre_tokenizer = whole
        elif split in _SPLITS:
            words = pre_tokenizers.Split(Regex(_SPLITS[split]), "isolated")
            letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, letters])
            if split == "qwen2":
                tokenizer.normalizer = normalizers.NFC()
        else:
            known = ", ".join(["default", "gpt-2", "smollm", *_SPLITS])
            raise WeightsError(
                f"{self.folder} splits words as {split!r}. Known: {known}. Pass an HF "
                "folder with tokenizer.json."
            )
        tokenizer.decoder = decoders.ByteLevel()
        return self._finished(tokenizer, tokens, opens=whole_words)

    def _sentence_piece(self, tokens: list[str]) -> str:
        from tokenizers import Tokenizer, decoders, models, normalizers

        scores = self._fact("tokenizer.ggml.scores")
        places = {token: i for i, token in enumerate(tokens)}
        merges = _merges(tokens, scores, set(self._of_kind(tokens, _SPECIAL | _BYTES)))
        tokenizer = Tokenizer(
            models.BPE(places, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
        )
        space = self._fact("tokenizer.ggml.add_space_prefix")
        first = [normalizers.Prepend("▁")] if space in (None, True) else []
        tokenizer.normalizer = normalizers.Sequence([*first, normalizers.Replace(" ", "▁")])
        steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        strip = [decoders.Strip(" ", 1, 0)] if first else []
        tokenizer.decoder = decoders.Sequence([*steps, *strip])
        return self._finished(tokenizer, tokens, opens=True)

    def _word_pieces(self, tokens: list[str]) -> str:
        from kzoo.backbones.tokenizer import _wordpiece

        special = set(self._of_kind(tokens, _SPECIAL)) | {t for t in tokens if _is_marked(t)}
        # llama.cpp marks beginnings of words, where BERT marks what goes on.
        plain = [
            token
            if token in special
            else token.removeprefix("▁")
            if token.startswith("▁")
            else f"##{token}"
            for token in tokens
        ]
        lowercase = not any(token != token.lower() for token in plain if token not in special)
        return _wordpiece({token: i for i, token in enumerate(plain)}, lowercase, None, True)

    def _of_kind(self, tokens: list[str], kinds: set[int]) -> list[str]:
        found = self._fact("tokenizer.ggml.token_type") or []
        return [token for token, kind in zip(tokens, found, strict=False) if kind in kinds]

    def _finished(self, tokenizer: Any, tokens: list[str], opens: bool) -> str:
        """Adds special tokens, and the opening token where texts begin with it."""
        from tokenizers import AddedToken, processors

        special = self._of_kind(tokens, _SPECIAL)
        tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in special])
        own = self._of_kind(tokens, {_USER})
        tokenizer.add_tokens([AddedToken(token, normalized=False) for token in own])
        begins, number = (
            self._fact(f"tokenizer.ggml.{k}") for k in ("add_bos_token", "bos_token_id")
        )
        if number is not None and (opens if begins is None else begins):
            token = tokens[number]
            tokenizer.post_processor = processors.TemplateProcessing(
                single=f"{token} $A", pair=f"{token} $A $B", special_tokens=[(token, number)]
            )
        return str(tokenizer.to_str())


# llama.cpp's kinds of tokens: unknown and control; user's own; single bytes.
_SPECIAL, _USER, _BYTES = {2, 3}, 4, {6}
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SPLITS = {
    "llama-bpe": _WORDS + r"\p{N}{1,3}" + _REST,
    "qwen2": _WORDS + r"\p{N}" + _REST,
}


def _halves(merge: str) -> tuple[str, str, str]:
    return merge.partition(" ")


def _is_marked(token: str) -> bool:
    return token.startswith("[") and token.endswith("]") and len(token) > 2


def _merges(tokens: list[str], scores: list[float], apart: set[str]) -> list[tuple[str, str]]:
    """SentencePiece's choice as merges: of all pairs whose sum is a token, the best score first."""
    known = {token: i for i, token in enumerate(tokens) if token not in apart}
    found: list[tuple[float, int, int, int]] = []
    for token, number in known.items():
        for cut in range(1, len(token)):
            left, right = known.get(token[:cut]), known.get(token[cut:])
            if left is not None and right is not None:
                found.append((-scores[number], number, left, right))
    return [(tokens[left], tokens[right]) for *_, left, right in sorted(found)]
