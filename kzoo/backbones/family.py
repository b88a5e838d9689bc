"""What kzoo has to know about one family of KerasHub backbones, and how it finds their sublayers.

A *site* is a sublayer that an adapter may wrap. The names of the sites are the same for every
family; the attribute paths are not, and stand in the family's own file in
`kzoo.backbones.families`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from kzoo.backbones.hf_format import HFClasses, HFConfig, HFNames, HubNames
from kzoo.backbones.places import LINEAR_SITES, NORM_SITES, Place, layer_sizes

if TYPE_CHECKING:
    from kzoo.backbones.dims import Dims

# keras_hub.layers.TransformerEncoder (norms after the residual sum) and TransformerDecoder.
TRANSFORMER_BLOCK: Mapping[str, str] = {
    "query": "_self_attention_layer._query_dense",
    "key": "_self_attention_layer._key_dense",
    "value": "_self_attention_layer._value_dense",
    "attention_output": "_self_attention_layer._output_dense",
    "attention_norm": "_self_attention_layer_norm",
    "attention": "_self_attention_layer:_compute_attention",
    "ffn_intermediate": "_feedforward_intermediate_dense",
    "ffn_output": "_feedforward_output_dense",
    "ffn_norm": "_feedforward_layer_norm",
    "block": "",
}


@dataclass(frozen=True)
class Stack:
    """A row of Transformer blocks of one kind.

    Args:
        name: First part of the places' keys: `blocks`, or `encoder` and `decoder`.
        attribute: Path on the backbone to the list of blocks.
        sites: Site name -> attribute path inside a block, with `:method` where it is not `call`.
            In the order of the computation, but for the norms, which stand behind their part.
            `ffn_gate` is the projection that the activation is applied to and `ffn_intermediate`
            the linear one beside it; without a gate `ffn_intermediate` carries the activation.
        gated: What differs in `sites` where the backbone says `use_gated_activation` (T5).
    """

    name: str = "blocks"
    attribute: str = "transformer_layers"
    sites: Mapping[str, str] = field(default_factory=lambda: TRANSFORMER_BLOCK)
    gated: Mapping[str, str] = field(default_factory=dict)

    def paths(self, gated: bool) -> dict[str, str]:
        """Site name -> attribute path, in the order of the computation."""
        if not (gated and self.gated):
            return dict(self.sites)
        paths: dict[str, str] = {}
        for name, path in self.sites.items():
            if name == "ffn_intermediate":
                paths.update(self.gated)
            else:
                paths[name] = path
        return paths


@dataclass(frozen=True)
class Spot:
    """Where a place of a family lies, before any backbone is built.

    Args:
        key: Key of the place.
        name: Its name.
        path: Attribute path with `:method`, from the block or, outside of blocks, the backbone.
        stack: Number of the stack, or None.
        index: Number of the block in its stack.
        block: Number of the block over all stacks, or None.
    """

    key: str
    name: str
    path: str
    stack: int | None = None
    index: int = 0
    block: int | None = None

    @property
    def site(self) -> str:
        """The site: the name without `cross_`."""
        return self.name.removeprefix("cross_")

    @property
    def method(self) -> str:
        """The method that an adapter stands around."""
        return self.path.partition(":")[2] or "call"


@dataclass(frozen=True)
class Family:
    """What kzoo has to know about one family of KerasHub backbones.

    Args:
        name: Family name; equals HF's `model_type`, and the name it is registered under.
        backbone: Class name in `keras_hub.models`.
        names: Names of the tensors in HF's checkpoints.
        config: How HF's `config.json` is read.
        miniature: Constructor arguments of a backbone of 2 blocks of width 16, on which methods
            are tried: `vocabulary_size` is `shared.VOCABULARY`, grouped queries are grouped.
        classes: HF's model classes, where PEFT's files of the family are known.
        hub: AdapterHub's modules, where its files of the family are known.
        also: Other class names of the same architecture.
        kind: `encoder`, `decoder`, `encoder-decoder` or `vision`.
        inputs: Names of the backbone's inputs.
        stacks: The rows of Transformer blocks.
        outside: Key -> attribute path of the sublayers outside the blocks. A key is the site's
            name, with the stack in front where there are two: `encoder.final_norm`.
        pooler: Attribute of the dense layer behind `pooled_output`, if the family has one.
        biased: Sites whose sublayer has a bias (norms: a beta).
        gated: Whether the feed-forward part is a product with a gate, in every checkpoint.
        pre_norm: Whether the blocks normalise what goes into a sublayer, not the residual sum.
        activation: Attribute paths inside a block where the activation is kept; none where
            KerasHub wrote it into its code, and then `config.defaults` names it.
        attention_scores: Whether the method at the places `attention` takes
            `return_attention_scores=True`, and returns (output, scores of shape (batch, heads,
            queries, keys)) then, as that of `keras.layers.MultiHeadAttention` does.
        causal_lm: Class name in `keras_hub.models` of the task that completes texts.
        seq2seq_lm: The same for the task that writes a text for a text.
        tokenizer: What KerasHub's vocabulary is of, where HF's tokenizer can be made of it alone.
        pad_tokens: The padding token; the first of these that the vocabulary has.
        decoder_start: The same for the token that opens the decoder's input.
        sizes: From a built backbone, entries of `Dims` that are not its attributes of that name.
        extra_parameters: From `Dims`, the number of parameters of layers at which no adapter
            stands, but for segment embeddings and an output matrix.
    """

    name: str
    backbone: str
    names: HFNames
    config: HFConfig
    miniature: Mapping[str, Any]
    classes: HFClasses | None = None
    hub: HubNames | None = None
    also: tuple[str, ...] = ()
    kind: Literal["encoder", "decoder", "encoder-decoder", "vision"] = "encoder"
    inputs: tuple[str, ...] = ("token_ids", "padding_mask")
    stacks: tuple[Stack, ...] = (Stack(),)
    outside: Mapping[str, str] = field(default_factory=dict)
    pooler: str | None = None
    biased: tuple[str, ...] = (*LINEAR_SITES, *NORM_SITES)
    gated: bool = False
    pre_norm: bool = False
    activation: tuple[str, ...] = ("activation", "_feedforward_intermediate_dense.activation")
    attention_scores: bool = False
    causal_lm: str | None = None
    seq2seq_lm: str | None = None
    tokenizer: Literal["wordpiece", "byte-pair"] | None = None
    pad_tokens: tuple[str, ...] = ("[PAD]", "<pad>")
    decoder_start: tuple[str, ...] = ()
    sizes: Callable[[Any], Mapping[str, Any]] = lambda backbone: {}
    extra_parameters: Callable[[Dims], int] = lambda dims: 0

    @property
    def backbone_class(self) -> Any:
        """The KerasHub class (imports KerasHub)."""
        import keras_hub

        return getattr(keras_hub.models, self.backbone)

    @property
    def site_names(self) -> list[str]:
        """Names of all sites that some checkpoint of this family has."""
        inside = [name for stack in self.stacks for name in (*stack.sites, *stack.gated)]
        outside = [key.rpartition(".")[2] for key in self.outside]
        return list(dict.fromkeys([*outside, *inside]))

    def block_lists(self, backbone: Any) -> list[list[Any]]:
        """The different Transformer blocks of each stack; a shared block stands here once."""
        return [_flat(reach(backbone, stack.attribute)) for stack in self.stacks]

    def block_list(self, backbone: Any) -> list[Any]:
        """The Transformer blocks of a built backbone, from the input upwards, encoder first."""
        return [block for blocks in self.block_lists(backbone) for block in blocks]

    def is_gated(self, backbone: Any) -> bool:
        """Whether the feed-forward part of a built backbone has a gate."""
        return bool(getattr(backbone, "use_gated_activation", self.gated))

    def spots(self, counts: Sequence[int], gated: bool) -> Iterator[Spot]:
        """Where the places lie, from the input upwards.

        Args:
            counts: Different blocks in each stack.
            gated: Whether the feed-forward part has a gate.
        """
        last = {key for key in self.outside if key.endswith(("final_norm", "pooler"))}
        yield from (self._outside(key) for key in self.outside if key not in last)
        block = 0
        for number, (stack, count) in enumerate(zip(self.stacks, counts, strict=True)):
            paths = stack.paths(gated)
            for index in range(count):
                for name, path in paths.items():
                    key = f"{stack.name}.{index}.{name}"
                    yield Spot(key, name, path, number, index, block)
                block += 1
        yield from (self._outside(key) for key in self.outside if key in last)

    def _outside(self, key: str) -> Spot:
        return Spot(key, key.rpartition(".")[2], self.outside[key])

    def places(self, backbone: Any) -> list[Place]:
        """Every place of a built backbone, from the input upwards."""
        blocks = self.block_lists(backbone)
        places = []
        for spot in self.spots([len(stack) for stack in blocks], self.is_gated(backbone)):
            root = backbone if spot.stack is None else blocks[spot.stack][spot.index]
            layer = reach(root, spot.path.partition(":")[0])
            size_in, size_out, bias = layer_sizes(layer)
            places.append(
                Place(
                    key=spot.key,
                    site=spot.site,
                    name=spot.name,
                    size_in=size_in,
                    size_out=size_out,
                    bias=bias,
                    block=spot.block,
                    layer=layer,
                    method=spot.method,
                    pre_norm=self.pre_norm,
                )
            )
        return places


def reach(root: Any, path: str) -> Any:
    """Follows a path of attributes, list indices and names of layers (ViT's blocks have no other).

    Args:
        root: Where to start.
        path: Such as `embeddings.token_embedding`; empty for the root itself.
    """
    for part in filter(None, path.split(".")):
        if part.isdigit():
            root = root[int(part)]
        else:
            root = getattr(root, part) if hasattr(root, part) else root.get_layer(part)
    return root


def _flat(blocks: Sequence[Any]) -> list[Any]:
    flat: list[Any] = []
    for block in blocks:
        flat += _flat(block) if isinstance(block, (list, tuple)) else [block]
    return flat
