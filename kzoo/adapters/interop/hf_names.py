"""Where a family's places are in the HF model: place name <-> path of the torch module.

Paths are those behind the model's own prefix (`bert.` in `BertForSequenceClassification`), which
differs from class to class and is found by itself. Several places with one path are one torch
module whose rows are split between them (GPT-2's `c_attn`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kzoo.backbones.dims import Dims
from kzoo.backbones.families import FAMILIES
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError, did_you_mean


@dataclass(frozen=True)
class Module:
    """One torch module.

    Args:
        path: Its path without the model's prefix.
        keys: Keys of the places it is, in the order of its rows.
        kind: What it is: its adapters have other tensor names in an embedding.
    """

    path: str
    keys: tuple[str, ...]
    kind: str  # linear, embedding or norm


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
class HfFamily:
    """Module names of one family.

    Args:
        stacks: Name of a stack in our keys -> (path of the blocks, place name -> module).
        outside: Place name -> module, outside of the blocks.
        prefix: What stands before all paths in a model with a classification head.
        task: PEFT's `task_type` of a model without such a head, and the prefix there.
        head: The classification head, where it has the form of ours.
        conv1d: Whether the linear modules are HF's `Conv1D`.
    """

    stacks: Mapping[str, tuple[str, Mapping[str, str]]]
    outside: Mapping[str, str]
    prefix: str
    task: tuple[str, str] = ("FEATURE_EXTRACTION", "")
    head: HfHead | None = None
    conv1d: bool = False


_BERT = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "ffn_intermediate": "intermediate.dense",
    "ffn_output": "output.dense",
    "ffn_norm": "output.LayerNorm",
}
_BERT_OUTSIDE = {
    "token_embedding": "embeddings.word_embeddings",
    "position_embedding": "embeddings.position_embeddings",
    "embeddings_norm": "embeddings.LayerNorm",
}
_DISTIL = {
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "attention_output": "attention.out_lin",
    "attention_norm": "sa_layer_norm",
    "ffn_intermediate": "ffn.lin1",
    "ffn_output": "ffn.lin2",
    "ffn_norm": "output_layer_norm",
}
_GPT2 = {
    "query": "attn.c_attn",
    "key": "attn.c_attn",
    "value": "attn.c_attn",
    "attention_output": "attn.c_proj",
    "attention_norm": "ln_1",
    "ffn_intermediate": "mlp.c_fc",
    "ffn_output": "mlp.c_proj",
    "ffn_norm": "ln_2",
}
_LLAMA = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "attention_output": "self_attn.o_proj",
    "attention_norm": "input_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_intermediate": "mlp.up_proj",
    "ffn_output": "mlp.down_proj",
    "ffn_norm": "post_attention_layernorm",
}


def _t5(attention: str, sublayer: int, prefix: str = "") -> dict[str, str]:
    names = {"query": "q", "key": "k", "value": "v", "attention_output": "o"}
    found = {f"{prefix}{ours}": f"layer.{sublayer}.{attention}.{x}" for ours, x in names.items()}
    return {**found, f"{prefix}attention_norm": f"layer.{sublayer}.layer_norm"}


def _t5_ffn(sublayer: int) -> dict[str, str]:
    inside = f"layer.{sublayer}.DenseReluDense"
    return {
        "ffn_gate": f"{inside}.wi_0",
        "ffn_intermediate": f"{inside}.wi_1",  # `wi` where there is no gate, see `_named`
        "ffn_output": f"{inside}.wo",
        "ffn_norm": f"layer.{sublayer}.layer_norm",
    }


def _bart(attention: str, norm: str, prefix: str = "") -> dict[str, str]:
    names = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "attention_output": "out_proj"}
    found = {f"{prefix}{ours}": f"{attention}.{x}" for ours, x in names.items()}
    return {**found, f"{prefix}attention_norm": norm}


_BART_FFN = {"ffn_intermediate": "fc1", "ffn_output": "fc2", "ffn_norm": "final_layer_norm"}
_BART_SELF = _bart("self_attn", "self_attn_layer_norm")


def _bert_like(prefix: str, pooler: bool) -> HfFamily:
    outside = {**_BERT_OUTSIDE, "pooler": "pooler.dense"} if pooler else _BERT_OUTSIDE
    head = HfHead("classifier", True, "pooler") if pooler else None
    return HfFamily({"blocks": ("encoder.layer", _BERT)}, outside, prefix, head=head)


def _llama_like() -> HfFamily:
    return HfFamily(
        {"blocks": ("layers", _LLAMA)},
        {"token_embedding": "embed_tokens", "final_norm": "norm"},
        "model",
        task=("CAUSAL_LM", "model"),
        head=HfHead("score", False, "last"),
    )


# Several rows may describe the same tensor names; the first that fits a file is taken.
HF_FAMILIES: dict[str, HfFamily] = {
    "bert": _bert_like("bert", True),
    "roberta": _bert_like("roberta", False),
    "xlm-roberta": _bert_like("roberta", False),
    "electra": _bert_like("electra", False),
    "distilbert": HfFamily({"blocks": ("transformer.layer", _DISTIL)}, _BERT_OUTSIDE, "distilbert"),
    "gpt2": HfFamily(
        {"blocks": ("h", _GPT2)},
        {"token_embedding": "wte", "position_embedding": "wpe", "final_norm": "ln_f"},
        "transformer",
        task=("CAUSAL_LM", "transformer"),
        head=HfHead("score", False, "last"),
        conv1d=True,
    ),
    "llama": _llama_like(),
    "mistral": _llama_like(),
    "qwen2": _llama_like(),
    "qwen3": _llama_like(),
    "gemma": _llama_like(),
    "t5": HfFamily(
        {
            "encoder": ("encoder.block", {**_t5("SelfAttention", 0), **_t5_ffn(1)}),
            "decoder": (
                "decoder.block",
                {
                    **_t5("SelfAttention", 0),
                    **_t5("EncDecAttention", 1, "cross_"),
                    **_t5_ffn(2),
                },
            ),
        },
        {
            "token_embedding": "shared",
            "encoder.final_norm": "encoder.final_layer_norm",
            "decoder.final_norm": "decoder.final_layer_norm",
        },
        "",
        task=("SEQ_2_SEQ_LM", ""),
    ),
    "bart": HfFamily(
        {
            "encoder": ("encoder.layers", {**_BART_SELF, **_BART_FFN}),
            "decoder": (
                "decoder.layers",
                {
                    **_BART_SELF,
                    **_bart("encoder_attn", "encoder_attn_layer_norm", "cross_"),
                    **_BART_FFN,
                },
            ),
        },
        {
            "token_embedding": "shared",
            "encoder.position_embedding": "encoder.embed_positions",
            "encoder.embeddings_norm": "encoder.layernorm_embedding",
            "decoder.position_embedding": "decoder.embed_positions",
            "decoder.embeddings_norm": "decoder.layernorm_embedding",
        },
        "model",
        task=("SEQ_2_SEQ_LM", "model"),
    ),
}


def kind_of(name: str) -> str:
    """Kind of the module at a place of this name."""
    if name.endswith("_norm"):
        return "norm"
    return "embedding" if name.endswith("embedding") else "linear"


@dataclass(frozen=True)
class Layout:
    """The torch modules of one model, and the places they are.

    Args:
        modules: Path without prefix -> module, from the input upwards.
        family: Name of the family, or None for a Keras model that is no backbone.
        places: The places themselves, without layers where only a file is known.
        complete: Whether these are all modules; a file alone shows only those it adapts.
        dims: Sizes of the trunk, where they are known.
    """

    modules: Mapping[str, Module]
    family: str | None = None
    places: Sequence[Place] = ()
    complete: bool = True
    dims: Dims | None = None
    _paths: Mapping[str, str] = field(default_factory=dict)  # key of a place -> path

    @property
    def hf(self) -> HfFamily | None:
        """The family's names."""
        return HF_FAMILIES[self.family] if self.family is not None else None

    def path_of(self, key: str) -> str:
        """Path of the module that a place is.

        Raises:
            AdapterError: PEFT has no name for this place.
        """
        if key not in self._paths:
            raise AdapterError(
                f"PEFT has no module for `{key}` in the family {self.family!r}."
                f"{did_you_mean(key, self._paths)}"
            )
        return self._paths[key]

    def split(self, paths: Iterable[str]) -> tuple[str, list[str]]:
        """Takes the model's prefix off the paths of a file.

        Returns:
            The prefix, with its dot, and the paths of modules here. Paths that are no modules of
            this layout come back whole.
        """
        paths = list(paths)
        votes: dict[str, int] = {}
        for path in paths:
            for start in (0, *(match.end() for match in re.finditer(r"\.", path))):
                if path[start:] in self.modules:
                    votes[path[:start]] = votes.get(path[:start], 0) + 1
                    break
        prefix = max(votes, key=lambda p: votes[p], default="")
        return prefix, [
            path.removeprefix(prefix)
            if path.startswith(prefix) and path.removeprefix(prefix) in self.modules
            else path
            for path in paths
        ]


def layout_of(places: Sequence[Place], family: str | None, dims: Dims | None = None) -> Layout:
    """The layout of a model.

    Args:
        places: All places of the model.
        family: Name of its family; None makes every place a module of its own key.
        dims: Sizes of the trunk; prompts need them.

    Raises:
        AdapterError: The family has no HF names here.
    """
    if family is None:
        modules = {
            place.key: Module(place.key, (place.key,), _kind_of_layer(place))
            for place in places
            if place.method == "call"
        }
        return _layout(modules, None, places, True)
    modules = _grouped(dict(_named(hf_family(family), places)))
    return _layout(modules, family, places, True, dims)


def layout_of_file(family: str, paths: Iterable[str]) -> Layout:
    """The layout of a family with as many blocks as the module paths of a file show."""
    names = hf_family(family)
    paths = list(paths)
    counts = []
    for where, _ in names.stacks.values():
        pattern = re.compile(rf"(?:^|\.){re.escape(where)}\.(\d+)\.")
        found = [int(match[1]) for path in paths if (match := pattern.search(path))]
        counts.append(max(found, default=-1) + 1)
    row = FAMILIES[family]
    gated = row.gated or any(path.endswith((".wi_0", ".wi_1")) for path in paths)
    places = [
        Place(spot.key, spot.site, spot.name, 0, 0, block=spot.block, method=spot.method)
        for spot in row.spots(counts, gated)
    ]
    return _layout(_grouped(dict(_named(names, places))), family, places, False)


def hf_family(name: str) -> HfFamily:
    """Looks a family up.

    Raises:
        AdapterError: Not in the table.
    """
    if name not in HF_FAMILIES:
        raise AdapterError(
            f"`family` {name!r} has no HF module names.{did_you_mean(name, HF_FAMILIES)}"
        )
    return HF_FAMILIES[name]


def _named(names: HfFamily, places: Sequence[Place]) -> Iterable[tuple[str, str]]:
    gated = any(place.name == "ffn_gate" for place in places)
    for place in places:
        stack, _, rest = place.key.partition(".")
        number, _, name = rest.partition(".")
        if name and stack in names.stacks:
            where, block = names.stacks[stack]
            if name in block:
                path = f"{where}.{number}.{block[name]}"
                if not gated and path.endswith(".wi_1"):
                    path = path.removesuffix("_1")
                yield place.key, path
        elif place.key in names.outside:
            yield place.key, names.outside[place.key]


def _grouped(paths: Mapping[str, str]) -> dict[str, Module]:
    keys: dict[str, list[str]] = {}
    for key, path in paths.items():
        keys.setdefault(path, []).append(key)
    return {
        path: Module(path, tuple(found), kind_of(found[0].rpartition(".")[2]))
        for path, found in keys.items()
    }


def _layout(
    modules: Mapping[str, Module],
    family: str | None,
    places: Sequence[Place],
    complete: bool,
    dims: Dims | None = None,
) -> Layout:
    paths = {key: module.path for module in modules.values() for key in module.keys}
    return Layout(modules, family, places, complete, dims, paths)


def _kind_of_layer(place: Place) -> str:
    if hasattr(place.layer, "embeddings"):
        return "embedding"
    return "linear" if hasattr(place.layer, "kernel") else "norm"
