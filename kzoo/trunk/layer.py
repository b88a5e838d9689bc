"""`kzoo.Trunk`: a pretrained backbone that owns its adapters, as a Keras layer like any other."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, Self, TypeVar

import keras
from keras import ops

from kzoo.adapters.acting.composition import Block, Parallel, PerRow
from kzoo.adapters.acting.injection import Sites
from kzoo.adapters.acting.prompts import positions_used, prompts_of
from kzoo.adapters.acting.rows import ROW_INPUT
from kzoo.adapters.host import Holders
from kzoo.adapters.manager import Adapters
from kzoo.backbones.architecture import Architecture
from kzoo.backbones.dims import Dims
from kzoo.backbones.families import family_named
from kzoo.backbones.loading import Pretrained
from kzoo.backbones.text import TextProcessor
from kzoo.backbones.trunk import build, config_of, cut, seed_dropout, set_trainable
from kzoo.errors import InputError
from kzoo.keras_internals import every_layer, is_quantized
from kzoo.strategy import current_strategy, strategy_scope
from kzoo.trunk.capture import Observed
from kzoo.trunk.followed import FollowedByHeads
from kzoo.trunk.source import longest_text, prefix_of_inputs, resolved

_T = TypeVar("_T")


@keras.saving.register_keras_serializable(package="kzoo")
class Trunk(FollowedByHeads, keras.layers.Layer):  # type: ignore[misc]
    """A pretrained Transformer with adapters, as a layer of any Keras model.

    It owns the KerasHub backbone, its adapters and what is known of its tokenizer. Models that
    call it, functional or subclassed, train, save and reload it by plain Keras means, as often as
    they call it and however deep it lies in them. Switching adapters reaches all of them.

    Called on a dict of the backbone's inputs (`token_ids`, `padding_mask`, ..., int32 (batch,
    length); `images`), it returns a dict:

    - `tokens`: float (batch, length, width) in the trunk's compute dtype; of an encoder-decoder
      those of the decoder, beside `encoder_tokens` and `encoder_mask`.
    - `mask`: bool (batch, length), the tokens of the text: no padding, no virtual tokens of a
      prompt. Not there for images.
    - `pooled`: float (batch, width), where the checkpoint has a pooler.
    - `hidden_states`: list of (batch, length, width), what enters the first block and what each
      block gives (before a final norm), if asked for.
    - `attention_scores`: list of (batch, heads, queries, keys), one a block, if asked for.

    Called on a list of such inputs of one length (`kzoo.ChoicesInput`), it returns a list.

    Args:
        source: Name of a zoo backbone (`"minilm-l6"`); a folder in HF's or KerasHub's format; a
            `hf://` or `kaggle://` handle; a KerasHub preset; or a backbone of KerasHub's.
        max_tokens: Longest text in tokens, special tokens included. Default: the backbone's.
        layers: Transformer blocks to keep, rising. Default: all.
        frozen: Whether the backbone's own weights are fixed, and its dropout off. Default true;
            `freeze()` and `unfreeze()` change it.
        tokenizer: With a backbone object only: HF `tokenizer.json` as text or path, or KerasHub's
            tokenizer. Without one the trunk takes token ids, no texts.
        hidden_states: Return them.
        attention_scores: Return them.
        seed: Decides the adapters' initial values and the dropout.
        **kwargs: `name` and `dtype`, as in every Keras layer.

    Attributes:
        adapters: Named adapters: add, activate, deactivate, delete, save, load, summary.
        backbone: KerasHub's.
        text: The text processor: `encode`, `tokenize`, `fingerprint`; None without a tokenizer.
        pooling: How the published encoder makes a sentence vector, `mean` where that is not known.
        normalize: Whether that vector has length 1.

    Raises:
        WeightsError: The weights are not to be had, are not the promised ones, or their family is
            not supported; the message says what helps.

    Example:
        >>> trunk = kzoo.Trunk("minilm-l6")
        >>> trunk.adapters.add("task", "lora[r=8]")
        >>> text = kzoo.TextInput(trunk)
        >>> model = kzoo.Model(text, kzoo.heads.Classify(name="topic")(trunk(text)))
    """

    def __init__(
        self,
        source: Any,
        max_tokens: int | None = None,
        layers: Sequence[int] | None = None,
        frozen: bool = True,
        tokenizer: Any = None,
        hidden_states: bool = False,
        attention_scores: bool = False,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        found = resolved(source, tokenizer, kwargs.get("dtype"))
        backbone, family = found.backbone, found.family
        if layers is not None:
            backbone = cut(backbone, found.architecture, layers)
        kwargs.setdefault("dtype", backbone.dtype_policy)
        super().__init__(autocast=False, **kwargs)
        # Taken before any injection: the config has to rebuild the bare backbone.
        self._facts = _Box(config_of(backbone))
        self._own = _Box([weakref.ref(v) for v in backbone.weights])
        self.backbone = backbone
        self.family = family
        self.architecture = found.architecture
        self.origin = found.origin
        self.tokenizer_json = found.tokenizer_json
        self.chat = _Box(dict(found.chat))
        self.has_pooler = found.pooler and family.pooler is not None
        self.pooling, self.normalize = found.pooling, found.normalize
        self.seed = seed
        self.frozen = frozen
        self._pooler_used: bool | None = None
        self.max_tokens = longest_text(backbone, max_tokens, found.max_tokens)
        self._texts: _Box[dict[int, TextProcessor]] = _Box({})
        self.reads: _Box[dict[str, Any]] = _Box({})
        self.text = self.processor(self.max_tokens) if self.tokenizer_json else None
        self.sites = Sites(
            family.places(backbone), self.text.token_ids if self.text is not None else None
        )
        self.adapter_store = self.sites.store  # tracked here: Keras trains and saves what is in it
        self.observed = Observed(backbone, family, hidden_states, attention_scores)
        self.holders = Holders()
        self._heads = weakref.WeakSet()
        self._manager = Adapters(self)
        self._strategy = _Box(current_strategy())
        seed_dropout(backbone, seed)
        self._apply_training()
        self.built = True

    # --- Parts -----------------------------------------------------------------------------

    @property
    def adapters(self) -> Adapters:
        """The adapter manager."""
        return self._manager

    @property
    def width(self) -> int:
        """Size of a token vector."""
        return int(self.backbone.hidden_dim)

    @property
    def vocabulary_size(self) -> int | None:
        """Token ids from here on are virtual tokens of prompts; None for images."""
        if self.family.kind == "vision":
            return None
        # ELECTRA names it otherwise.
        return int(getattr(self.backbone, "vocabulary_size", None) or self.backbone.vocab_size)

    @property
    def trunk_variables(self) -> list[Any]:
        """The backbone's own variables, in the order in which they were built."""
        if self.quantization():  # other variables in the place of the old ones
            return list(self.backbone.weights)
        return [own() for own in self._own.value]

    # A method: Keras writes what a layer's properties hold into files.
    def quantization(self) -> dict[str, list[int]]:
        """What `model.quantize` did to the backbone: `int8` or `int4` -> numbers of its layers."""
        found: dict[str, list[int]] = {}
        for number, layer in enumerate(every_layer(self.backbone)):
            if is_quantized(layer):
                found.setdefault(str(layer.quantization_mode), []).append(number)
        return found

    def processor(self, max_tokens: int | None = None) -> TextProcessor:
        """The text processor for one length; it follows the prompts that act.

        Raises:
            InputError: The trunk has no tokenizer or takes images, or the length is beyond its
                positions.
        """
        if self.family.kind == "vision":
            raise InputError(
                f"Trunk {self.name!r} of family {self.family.name} takes images, not texts: use "
                "kzoo.ImageInput."
            )
        if not self.tokenizer_json:
            raise InputError(
                f"Trunk {self.name!r} has no tokenizer and takes token ids only. Pass "
                "`tokenizer=` to kzoo.Trunk (tokenizer.json as text or path, or KerasHub's)."
            )
        length = longest_text(self.backbone, max_tokens, self.max_tokens)
        if length not in self._texts.value:
            made = TextProcessor(self.tokenizer_json, self.family, length)
            if hasattr(self, "_manager"):
                self._tell(made, self.adapters.composition)
            self._texts.value[length] = made
        return self._texts.value[length]

    # --- Training --------------------------------------------------------------------------

    def freeze(self) -> None:
        """Fixes the backbone's own weights and switches its dropout off."""
        self._set_frozen(True)

    def unfreeze(self) -> None:
        """Lets the backbone's own weights be trained, with its dropout."""
        self._set_frozen(False)

    def _set_frozen(self, frozen: bool) -> None:
        self.frozen = frozen
        self._apply_training()
        self.adapters_changed()

    def use_pooler(self, used: bool) -> None:
        """Says whether somebody reads `pooled`.

        A pooler that nobody reads gets no gradient: then neither it nor an adapter there is
        trained. Where several models share the trunk, one that reads it decides.
        """
        if self._pooler_used is None or (used and not self._pooler_used):
            self._pooler_used = used
            self.sites.idle = frozenset() if used else self.sites.keys_of("pooler")
            self._apply_training()

    @property
    def trainable(self) -> bool:
        """As in Keras; set to True again, what was frozen for another reason stays frozen."""
        return bool(super().trainable)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        keras.layers.Layer.trainable.fset(self, value)
        if value:
            self._apply_training()

    def _apply_training(self) -> None:
        trainable = self.trainable and not self.frozen
        set_trainable(self.backbone, trainable, pooler=self._pooler_used is not False)
        if not self.trainable:
            return
        self.adapters.refresh_training()

    # --- What the manager needs, see kzoo.adapters.host ---------------------------------

    def strategy_scope(self) -> AbstractContextManager[Any]:
        """The scope of the `tf.distribute` strategy under which the trunk was made, if any."""
        return strategy_scope(self)

    @property
    def distribute_strategy(self) -> Any:
        """The strategy under which the trunk was made, or None."""
        return self._strategy.value

    def trunk_facts(self) -> dict[str, Any]:
        """What stands about the trunk in saved adapters."""
        return {"family": self.family.name, "dims": Dims.of(self.backbone).model_dump()}

    def prepare_composition(self, composition: str | Block | None) -> None:
        """Tells text processors which virtual tokens inputs need from now on, and the heads."""
        for text in self._texts.value.values():
            self._tell(text, composition)
        for head in self.heads():
            head.prepare(composition)

    def _tell(self, text: TextProcessor, composition: str | Block | None) -> None:
        longest = None
        used = positions_used(self.sites, composition)
        table = getattr(self.backbone, "max_sequence_length", None)  # rotary ones have no end
        if used and table is not None:
            longest = table - used
        text.use_prompts(prompts_of(self.sites, composition), longest)

    def adapters_changed(self) -> None:
        """Tells every model that runs the trunk that its functions are stale."""
        self.holders.changed()

    # --- Keras -----------------------------------------------------------------------------

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """See the class. Inputs that the backbone lacks or does not know are refused by name."""
        listed = isinstance(inputs, list)
        plain = [self._plain_inputs(one) for one in (inputs if listed else [inputs])]
        outputs = super().__call__(plain if listed else plain[0], *args, **kwargs)
        for one in outputs if listed else [outputs]:
            if "pooled" in one and isinstance(one["pooled"], keras.KerasTensor):
                one["pooled"].kzoo_pooled = self.name  # whoever takes it in a graph can be found
        return outputs

    def _plain_inputs(self, inputs: Any) -> dict[str, Any]:
        """The inputs by the backbone's own names."""
        names = self.family.inputs
        if len(names) == 1 and not isinstance(inputs, Mapping):
            inputs = {names[0]: inputs}
        if not isinstance(inputs, Mapping):
            raise InputError(
                f"A trunk takes a dict with {', '.join(names)}, such as kzoo.TextInput(trunk) "
                f"gives. Received: {type(inputs).__name__}"
            )
        prefix = prefix_of_inputs(inputs, names)
        plain = {key.removeprefix(prefix): value for key, value in inputs.items()}
        if missing := [name for name in names if name not in plain]:
            raise InputError(f"The trunk's inputs lack {missing}. Received: {sorted(inputs)}")
        if unknown := [name for name in plain if name not in (*names, ROW_INPUT)]:
            raise InputError(f"The trunk does not know the inputs {unknown}. Known: {list(names)}")
        return plain

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """See the class.

        Args:
            inputs: The backbone's inputs by name, or a list of these; with `kzoo.PerRow` active
                also `adapter_ids`, int32 (rows,): number of the child, -1 for no adapter
                (`kzoo.Model` passes it).
            training: Whether dropout is on.
        """
        if isinstance(inputs, list):
            return self._each(inputs, training)
        self.holders.note()
        inputs = dict(inputs)
        ids = inputs.pop(ROW_INPUT, None)
        if ids is None:
            ids = self.sites.ids.value
        if ids is None and isinstance(self.adapters.composition, (PerRow, Parallel)):
            raise InputError(
                "The composition PerRow needs to know each row's adapter: pass `adapter_names=` to "
                f"predict, fit or prepare, or the input `{ROW_INPUT}`."
            )
        with self.sites.ids.during(ids), self.observed.during() as seen:
            outputs = self.backbone(inputs, training=training)
        return {**self._named(outputs, inputs), **seen.results()}

    def _each(self, inputs: list[Any], training: bool | None) -> list[Any]:
        """Runs several inputs of one length as one long batch: the graph is not larger for it."""
        composition = self.adapters.composition
        if isinstance(composition, Block) and composition.counts_rows():
            return [self.call(one, training) for one in inputs]
        whole = {key: ops.concatenate([one[key] for one in inputs]) for key in inputs[0]}
        ids = self.sites.ids.value
        if ids is not None:
            whole.setdefault(ROW_INPUT, ops.tile(ids, (len(inputs),)))
        outputs = self.call(whole, training)
        parts = [ops.split(part, len(inputs)) for part in keras.tree.flatten(outputs)]
        return [
            keras.tree.pack_sequence_as(outputs, [part[i] for part in parts])
            for i in range(len(inputs))
        ]

    def _named(self, outputs: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(outputs, dict):
            outputs = {"sequence_output": outputs}
        if self.family.kind == "vision":
            return {"tokens": outputs["sequence_output"]}
        side = "decoder_" if self.family.kind == "encoder-decoder" else ""
        named = {
            "tokens": outputs[f"{side}sequence_output"],
            "mask": self._real(inputs, side),
        }
        if side:
            named["encoder_tokens"] = outputs["encoder_sequence_output"]
            named["encoder_mask"] = self._real(inputs, "encoder_")
        if self.has_pooler and "pooled_output" in outputs:
            named["pooled"] = outputs["pooled_output"]
        return named

    def _real(self, inputs: Mapping[str, Any], side: str) -> Any:
        """The tokens of the text: neither padding nor virtual."""
        mask = ops.cast(inputs[f"{side}padding_mask"], "bool")
        return ops.logical_and(mask, inputs[f"{side}token_ids"] < self.vocabulary_size)

    def get_config(self) -> dict[str, Any]:
        """JSON-ready facts from which `from_config` rebuilds the trunk, weights apart."""
        return {
            **super().get_config(),
            "source": {
                "family": self.family.name,
                "config": dict(self._facts.value),
                "architecture": self.architecture.model_dump(mode="json"),
                "tokenizer_json": self.tokenizer_json,
                "origin": self.origin,
                "pooler": self.has_pooler,
                "pooling": self.pooling,
                "normalize": self.normalize,
                "max_tokens": self.max_tokens,
                "chat": self.chat.value,
            },
            "frozen": self.frozen,
            "pooler_used": self._pooler_used,
            "hidden_states": self.observed.hidden_states,
            "attention_scores": self.observed.attention_scores,
            "seed": self.seed,
            "quantization": self.quantization(),
            "reads": dict(self.reads.value),
            "adapters": self.adapters.state(),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Rebuilds a trunk from `get_config`, with random weights and all its adapters."""
        config = dict(config)
        facts, adapters = dict(config.pop("source")), config.pop("adapters")
        reads, used = config.pop("reads"), config.pop("pooler_used")
        quantization = config.pop("quantization", {})
        config["dtype"] = keras.dtype_policies.get(config["dtype"])
        architecture = Architecture(**facts.pop("architecture"))
        family = facts.pop("family")
        backbone = build(family, facts.pop("config"), architecture, dtype=config["dtype"])
        found = Pretrained(
            backbone=backbone, family=family_named(family), architecture=architecture, **facts
        )
        trunk = cls(found, **config)
        trunk.reads.value.update(reads)
        if used is not None:
            trunk.use_pooler(used)
        trunk.adapters.restore(adapters)
        layers = every_layer(backbone)
        for mode, numbers in quantization.items():
            chosen = {id(layers[number]) for number in numbers}
            backbone.quantize(mode, filters=lambda layer, those=chosen: id(layer) in those)
        return trunk


class _Box(Generic[_T]):
    """A box that Keras' attribute tracking does not look into."""

    def __init__(self, value: _T) -> None:
        self.value = value
