"""HF's model classes as PEFT sees them: prefixes of module paths, tasks, heads, by family.

The names of the modules themselves are those that checkpoints are read by,
`kzoo.backbones.hf_format.HFNames`.
"""

from __future__ import annotations

from dataclasses import dataclass

from kzoo.errors import AdapterError, did_you_mean


@dataclass(frozen=True)
class HfHead:
    """A classification head that is one linear layer, as kzoo's.

    Args:
        path: Path of the module, from the root of the model.
        bias: Whether it has one.
        pooling: The pooling of kzoo's classifier that feeds it the same vector.
    """

    path: str
    bias: bool
    pooling: str


@dataclass(frozen=True)
class HfClasses:
    """The classes of one family.

    Args:
        prefix: What stands before all paths in a model with a head.
        task: PEFT's `task_type` of a model without a classification head.
        task_prefix: The prefix there.
        head: The classification head, where it has the form of ours.
    """

    prefix: str
    task: str = "FEATURE_EXTRACTION"
    task_prefix: str = ""
    head: HfHead | None = None


def _decoder(prefix: str) -> HfClasses:
    return HfClasses(prefix, "CAUSAL_LM", prefix, HfHead("score", False, "last"))


# Of several families with the same module names, a file without a telling prefix is the first's.
HF_CLASSES: dict[str, HfClasses] = {
    "bert": HfClasses("bert", head=HfHead("classifier", True, "pooler")),
    "roberta": HfClasses("roberta"),
    "xlm-roberta": HfClasses("roberta"),
    "electra": HfClasses("electra"),
    "deberta-v2": HfClasses("deberta"),
    "distilbert": HfClasses("distilbert"),
    "gpt2": _decoder("transformer"),
    "llama": _decoder("model"),
    "mistral": _decoder("model"),
    "qwen2": _decoder("model"),
    "qwen3": _decoder("model"),
    "gemma": _decoder("model"),
    "t5": HfClasses("", "SEQ_2_SEQ_LM"),
    "bart": HfClasses("model", "SEQ_2_SEQ_LM", "model"),
    "vit": HfClasses("vit"),
}


def hf_classes(family: str) -> HfClasses:
    """Looks a family up.

    Raises:
        AdapterError: PEFT's files of this family are not known (ALBERT shares its blocks).
    """
    if family not in HF_CLASSES:
        raise AdapterError(
            f"PEFT's files of the family {family!r} are not supported."
            f"{did_you_mean(family, HF_CLASSES)}"
        )
    return HF_CLASSES[family]
