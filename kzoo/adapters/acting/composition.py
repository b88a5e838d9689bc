"""How several adapters act together: a small tree of names, validated and JSON-ready.

The blocks are AdapterHub's (Pfeiffer et al. 2020, arXiv:2007.07779; Poth et al. 2023, 2311.11077),
plus `PerRow`. In the formulas f_a is a sublayer with adapter a around it, f without any.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SerializeAsAny, ValidationError, field_validator

from kzoo.errors import AdapterError, did_you_mean, explain_validation


class Block(BaseModel):
    """Base of the blocks.

    Args:
        children: Names of adapters, or blocks.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    holds: ClassVar[tuple[str, ...]] = ()  # types of blocks that may stand inside

    children: tuple[SerializeAsAny[Any], ...]

    def __init__(self, *children: Any, **options: Any) -> None:
        super().__init__(**({"children": children} if children else {}), **options)

    @field_validator("children", mode="before")
    @classmethod
    def _known(cls, value: Any) -> tuple[Any, ...]:
        if isinstance(value, (str, Block)):
            value = (value,)
        children = tuple(parse_composition(child) for child in value)
        if not children:
            raise ValueError("must name at least one adapter")
        for child in children:
            if isinstance(child, Block) and child.type not in cls.holds:
                allowed = ", ".join(cls.holds) or "no blocks"
                raise ValueError(
                    f"a {child.type} cannot stand inside a {cls.__name__}, which holds names and "
                    f"{allowed}"
                )
        return children

    @property
    def type(self) -> str:
        """Name of the block's class."""
        return type(self).__name__

    def names(self) -> Iterator[str]:
        """The adapters in the tree, from left to right."""
        for child in self.children:
            if isinstance(child, Block):
                yield from child.names()
            else:
                yield child

    def trained(self) -> Iterator[str]:
        """The adapters in the tree that are trained while it is active."""
        for child in self.children:
            if isinstance(child, Block):
                yield from child.trained()
            else:
                yield child

    def counts_rows(self) -> bool:
        """Whether it tells the rows of a batch by their number: a `BatchSplit` is in the tree."""
        inside = any(isinstance(child, Block) and child.counts_rows() for child in self.children)
        return isinstance(self, BatchSplit) or inside

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data, from which `parse_composition` makes the same block."""
        children = [c.to_dict() if isinstance(c, Block) else c for c in self.children]
        options = self.model_dump(mode="json", exclude={"children"})
        return {"type": self.type, "children": children, **options}


class Stack(Block):
    """One around the other, the first innermost: f_b(f_a).

    Bottlenecks that run the block's norm twice (Pfeiffer's) are f(x) = norm(t(x)) and share it, as
    in AdapterHub: norm(t_b(t_a(x))).
    """

    holds = ("Stack", "Average", "Split", "BatchSplit", "Fuse")


class Average(Block):
    """Weighted mean of what the children give: sum w_i f_i(x).

    Args:
        weights: One number a child. Default: all 1 / n.
        normalize: Divide the weights by their sum. Default true.
    """

    holds = ("Stack", "Average", "Split", "BatchSplit", "Fuse")

    weights: tuple[float, ...] | None = None
    normalize: bool = True

    def model_post_init(self, context: object) -> None:
        """Checks the weights."""
        if self.weights is not None:
            if len(self.weights) != len(self.children):
                raise ValueError(f"`weights` must be {len(self.children)} numbers, one a child")
            if self.normalize and sum(self.weights) == 0:
                raise ValueError("`weights` add up to 0 and cannot be normalised")

    def shares(self) -> tuple[float, ...]:
        """The weights as they are applied."""
        weights = self.weights or (1.0,) * len(self.children)
        total = sum(weights) if self.normalize else 1.0
        return tuple(weight / total for weight in weights)


class Split(Block):
    """Each child has a stretch of the tokens: f_a on the first ones, f_b on the next.

    Args:
        splits: Tokens for each child; -1 in at most one place takes what is left.
    """

    holds = ("Stack", "Average", "Split", "BatchSplit", "Fuse")

    splits: tuple[int, ...]

    def model_post_init(self, context: object) -> None:
        """Checks the lengths."""
        _check_lengths("splits", self.splits, len(self.children))


class BatchSplit(Block):
    """Each child has some rows of the batch, in order.

    Args:
        batch_sizes: PerRow for each child; -1 in at most one place takes what is left.
    """

    holds = ("Stack", "Average", "Split", "BatchSplit", "Fuse")

    batch_sizes: tuple[int, ...]

    def model_post_init(self, context: object) -> None:
        """Checks the sizes."""
        _check_lengths("batch_sizes", self.batch_sizes, len(self.children))


class Fuse(Block):
    """Attention over what bottleneck adapters add (AdapterFusion, Pfeiffer et al. 2021).

    `model.adapters.add_fusion("a", "b")` makes the attention's own layers first.

    Args:
        fusion: Name of the fusion. Default: the children's names with `-` between them.
        freeze: Train the fusion alone, as in the paper, and not its adapters. Default true.
    """

    fusion: str = ""
    freeze: bool = True

    def model_post_init(self, context: object) -> None:
        """A fusion of one is none."""
        if len(self.children) < 2:
            raise ValueError("must have at least two children")
        if not self.fusion:
            object.__setattr__(self, "fusion", "-".join(self.children))

    def names(self) -> Iterator[str]:
        """The adapters, and the fusion."""
        yield from self.children
        yield self.fusion

    def trained(self) -> Iterator[str]:
        """The fusion; its adapters too unless they are frozen."""
        yield from (self.fusion,) if self.freeze else self.names()


class PerRow(Block):
    """Every row of a batch names its own adapter, in the model's input `adapter_names`."""

    holds = ("Stack", "Average")


class Parallel(Block):
    """Every row goes through every child; outputs are (rows, children, ...). To predict with."""

    holds = ("Stack", "Average")


_TYPES: dict[str, type[Block]] = {
    cls.__name__: cls for cls in (Stack, Average, Split, BatchSplit, Fuse, PerRow, Parallel)
}


def parse_composition(value: Any) -> str | Block:
    """A name, a block, or the data of one.

    Raises:
        AdapterError: Neither, or data that is no block; the key is named.
    """
    if isinstance(value, (str, Block)):
        return value
    if not isinstance(value, dict) or "type" not in value:
        raise AdapterError(
            "A composition is a name, or a block such as kzoo.Stack('a', 'b'). "
            f"Received: {value!r:.80}"
        )
    options = dict(value)
    kind = str(options.pop("type"))
    if kind not in _TYPES:
        raise AdapterError(f"`type` {kind!r} is no composition.{did_you_mean(kind, _TYPES)}")
    return compose(_TYPES[kind], **options)


def compose(block: type[Block], *children: Any, **options: Any) -> Block:
    """Makes a block, with kzoo's kind of error.

    Raises:
        AdapterError: A child or an option does not fit.
    """
    try:
        return block(*children, **options)
    except ValidationError as error:
        keys = list(block.model_fields)
        raise AdapterError(explain_validation(error, block.__name__, keys)) from error


def names_in(composition: str | Block | None) -> tuple[str, ...]:
    """The adapters of a composition, from the innermost or the left."""
    if composition is None:
        return ()
    return (composition,) if isinstance(composition, str) else tuple(composition.names())


def chosen_of(adapters: Sequence[str | Block]) -> str | Block:
    """The composition that a list of names and blocks means: several are a `Stack`.

    Raises:
        AdapterError: The list is empty, or its entries cannot stand in a stack.
    """
    if not adapters:
        raise AdapterError("`adapters` is empty. Use deactivate() to switch all adapters off.")
    return parse_composition(adapters[0] if len(adapters) == 1 else compose(Stack, *adapters))


def without(composition: str | Block | None, name: str) -> str | Block | None:
    """What is left of a composition when an adapter goes: of a stack of names, the others."""
    names = names_in(composition)
    left = [other for other in names if other != name]
    if len(left) == len(names):
        return composition
    plain = isinstance(composition, Stack) and names == composition.children
    return chosen_of(left) if plain and left else None


def _check_lengths(name: str, lengths: Sequence[int], children: int) -> None:
    if len(lengths) != children:
        raise ValueError(f"`{name}` must be {children} numbers, one a child")
    if any(length < 1 and length != -1 for length in lengths) or list(lengths).count(-1) > 1:
        raise ValueError(f"`{name}` must be positive, with -1 (the rest) at most once")
