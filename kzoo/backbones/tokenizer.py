"""HF `tokenizers` for every family: from a folder as it is, or built from KerasHub's vocabulary.

Token ids come from the `tokenizers` library alone. KerasHub's own BERT tokenizer keeps accents by
default, so that its ids differ from the checkpoint's on `café`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kzoo.backbones.families import Family
from kzoo.errors import WeightsError


def tokenizer_from_folder(folder: Path) -> str:
    """Reads `tokenizer.json`, or builds a tokenizer from `vocab.txt` or `vocab.json` + merges.

    Args:
        folder: An HF-format directory.

    Returns:
        The tokenizer as JSON text.

    Raises:
        WeightsError: No tokenizer files, or they cannot be read.
    """
    import tokenizers

    ready = folder / "tokenizer.json"
    try:
        if ready.is_file():
            return str(tokenizers.Tokenizer.from_file(str(ready)).to_str())
        if (folder / "vocab.txt").is_file():
            settings = _settings(folder)
            vocabulary = _lines(folder / "vocab.txt")
            return _wordpiece(
                {token: i for i, token in enumerate(vocabulary)},
                lowercase=settings.get("do_lower_case", True),
                strip_accents=settings.get("strip_accents"),
                chinese=settings.get("tokenize_chinese_chars", True),
            )
        if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
            lines = _lines(folder / "merges.txt")
            merges = [line for line in lines if line and not line.startswith("#version")]
            return _byte_level_bpe(vocab, merges)
    except WeightsError:
        raise
    except Exception as error:  # the Rust side raises bare Exception
        raise WeightsError(f"The tokenizer files in {folder} cannot be read: {error}") from error
    raise WeightsError(
        f"{folder} has no tokenizer: tokenizer.json, vocab.txt, or vocab.json with merges.txt "
        "is needed."
    )


def _lines(path: Path) -> list[str]:
    """A file's lines. Not `splitlines`, which cuts at U+2028 too: that is a token of BERT's."""
    return path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")


def tokenizer_json_of(tokenizer: Any, family: Family) -> str:
    """The HF tokenizer as JSON text, of what a user has.

    Args:
        tokenizer: `tokenizer.json` as text or path, or a KerasHub tokenizer.
        family: The family of the trunk.

    Raises:
        WeightsError: It cannot be read or rebuilt.
    """
    if not isinstance(tokenizer, (str, Path)):
        return tokenizer_from_hub(tokenizer, family)
    if str(tokenizer).lstrip().startswith("{"):
        return str(tokenizer)
    path = Path(tokenizer).expanduser()
    if path.is_dir():
        return tokenizer_from_folder(path)
    if not path.is_file():
        raise WeightsError(f"`tokenizer` {str(tokenizer)!r}: there is no such file.")
    return path.read_text(encoding="utf-8")


def tokenizer_from_hub(tokenizer: Any, family: Family) -> str:
    """Builds the HF tokenizer that has the vocabulary of a KerasHub tokenizer.

    Args:
        tokenizer: A KerasHub WordPiece or byte-pair tokenizer.
        family: The family of the trunk.

    Returns:
        The tokenizer as JSON text.

    Raises:
        WeightsError: The family's tokenizer cannot be rebuilt from KerasHub's files.
    """
    if family.tokenizer == "byte-pair":
        merges = [str(merge) for merge in tokenizer.merges]
        return _byte_level_bpe(dict(tokenizer.vocabulary), merges)
    if family.tokenizer != "wordpiece":
        raise WeightsError(
            f"The tokenizer of {family.name} cannot be rebuilt from a KerasHub preset. Pass a "
            "directory or an hf:// handle with config.json, weights and tokenizer.json."
        )
    vocabulary = tokenizer.get_vocabulary()
    lowercase = bool(tokenizer.lowercase)
    return _wordpiece({token: i for i, token in enumerate(vocabulary)}, lowercase, None, True)


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return {}
    settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return settings


def _wordpiece(
    vocab: dict[str, int], lowercase: bool, strip_accents: bool | None, chinese: bool
) -> str:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    for token in ("[UNK]", "[CLS]", "[SEP]", "[PAD]"):
        if token not in vocab:
            raise WeightsError(f"The vocabulary has no {token}; it is not a BERT vocabulary.")
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=chinese,
        strip_accents=strip_accents,
        lowercase=lowercase,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])],
    )
    special = [t for t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if t in vocab]
    tokenizer.add_special_tokens(special)
    return str(tokenizer.to_str())


def _byte_level_bpe(vocab: dict[str, int], merges: list[str]) -> str:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    gpt2 = "<|endoftext|>" in vocab and "<s>" not in vocab
    for token in () if gpt2 else ("<s>", "</s>", "<pad>"):
        if token not in vocab:
            raise WeightsError(
                f"The vocabulary has no {token}; it is no vocabulary of RoBERTa, BART or GPT-2."
            )
    pairs = [(left, right) for left, _, right in (merge.partition(" ") for merge in merges)]
    tokenizer = Tokenizer(models.BPE(vocab, pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if gpt2:  # texts stand for themselves
        tokenizer.add_special_tokens(["<|endoftext|>"])
        return str(tokenizer.to_str())
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", vocab["</s>"]), ("<s>", vocab["<s>"]), add_prefix_space=False
    )
    special = [t for t in ("<s>", "</s>", "<pad>", "<unk>") if t in vocab]
    tokenizer.add_special_tokens(special)
    if "<mask>" in vocab:
        tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    return str(tokenizer.to_str())
