"""What the graph of a `kzoo.Model` says: its reads, its heads, their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kzoo.errors import InputError
from kzoo.heads.at_tokens import AtTokens
from kzoo.heads.head import Head
from kzoo.keras_internals import history, operations_before
from kzoo.models.raw_data import Feed
from kzoo.reads import READS
from kzoo.reads.arrays import ArrayRead
from kzoo.reads.read import read_of
from kzoo.reads.windows import WindowsRead
from kzoo.trunk.layer import Trunk


def heads_of(outputs: Sequence[Any]) -> dict[str, Head]:
    """Output name -> head, of the symbolic outputs that a head has made."""
    found = {}
    for tensor in outputs:
        made = history(tensor)
        if made is not None and isinstance(made[0], Head):
            found[made[0].name] = made[0]
    return found


def output_name(tensor: Any, number: int) -> str:
    """The name of what has made an output."""
    made = history(tensor)
    return f"output_{number}" if made is None else str(made[0].name)


def feeds_of_inputs(named: Mapping[str, Any], trunks: Sequence[Trunk]) -> Iterator[Feed]:
    """What the inputs read, in their order.

    `clone_model` makes inputs anew, by name only; the trunks know what was to be read there.
    """
    left = dict(named)
    for trunk in trunks:
        for column, config in list(trunk.reads.value.items()):
            config = dict(config)
            kind, keys = config.pop("kind"), config.pop("keys")
            if set(keys) <= set(named) and all(read_of(named[key]) is None for key in keys):
                READS.get(kind).attach(column, {key: named[key] for key in keys}, trunk, config)
    for key, tensor in named.items():
        if key not in left:
            continue
        read = read_of(tensor)
        if read is None:
            read = ArrayRead(key, {key: tensor})
        if read.trunk is not None and read.trunk not in trunks:
            raise InputError(
                f"The input `{read.name}` was made for the trunk {read.trunk.name!r}, which is no "
                "part of the model."
            )
        for own in read.keys:
            left.pop(own, None)
        yield Feed(read.name, read)


def aligned_columns(outputs: Sequence[Any]) -> dict[str, str]:
    """Output name -> the column at whose tokens its labels stand.

    Raises:
        InputError: A head stands behind no such input, or behind several.
    """
    found = {}
    for tensor in outputs:
        made = history(tensor)
        if made is None or not isinstance(made[0], AtTokens):
            continue
        reads = {getattr(operation, "kzoo_read", None) for operation in operations_before(tensor)}
        columns = {read.name for read in reads if isinstance(read, WindowsRead)}
        if len(columns) != 1:
            raise InputError(
                f"The head `{made[0].name}` must stand behind one kzoo.WordsInput or "
                "kzoo.WindowsInput, which keep the places of tokens. "
                f"Received: {sorted(columns) or 'none'}"
            )
        found[str(made[0].name)] = columns.pop()
    return found


def reads_pooled(operation: Any) -> bool:
    """Whether a layer that gets a trunk's dict reads its pooled vector."""
    if isinstance(operation, Head):
        return operation.pooling == "pooler"
    return not getattr(operation, "ignores_pooled", False)


def mapped(structure: Any, function: Any) -> Any:
    """A structure of dicts and lists with another value for each leaf."""
    if isinstance(structure, Mapping):
        return {key: mapped(value, function) for key, value in structure.items()}
    if isinstance(structure, (list, tuple)):
        return type(structure)(mapped(value, function) for value in structure)
    return function(structure)
