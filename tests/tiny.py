"""A BERT of two blocks with a vocabulary of a hundred pieces, and a task it can learn."""

from __future__ import annotations

_COMMON = (
    "the a of to and is in it you that he was for on are with as at be this have from or had by "
    "good bad film movie cat dog great awful nice terrible red green blue one two three"
)
WORDS = _COMMON.split()


def tiny_vocabulary() -> list[str]:
    """WordPiece tokens: special ones, letters, word pieces, a few words."""
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    pieces = [f"##{letter}" for letter in letters]
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *pieces, *WORDS]


def make_tiny_trunk(seed: int = 0, num_layers: int = 2, dropout: float = 0.1):
    """A random BERT with 2 blocks of width 16 and its tokenizer."""
    import keras
    import keras_hub

    from kzoo.backbones.architecture import Architecture
    from kzoo.backbones.families import FAMILIES
    from kzoo.backbones.loading import Pretrained
    from kzoo.backbones.tokenizer import _wordpiece

    vocabulary = tiny_vocabulary()
    keras.utils.set_random_seed(seed)
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=len(vocabulary),
        num_layers=num_layers,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=64,
        dropout=dropout,
    )
    for variable in backbone.weights:  # away from zeros and ones, so that mistakes show
        variable.assign(variable + 0.1 * keras.random.normal(variable.shape))
    architecture = Architecture()
    architecture.apply(backbone, FAMILIES.get("bert"))
    ids = {token: i for i, token in enumerate(vocabulary)}
    return Pretrained(
        backbone, FAMILIES.get("bert"), architecture, _wordpiece(ids, True, None, True), "tiny"
    )


def make_model(cls, pretrained, recipe="tiny", **spec):
    """A kzoo model of a class on a pretrained part, from what a test wants to say of it.

    `head=`, `training=`: dicts; `max_tokens`, `seed`, `trunk="trainable"`: of the trunk;
    `num_classes`, `labels`, `normalize`: of the head.
    """
    from kzoo.trunk.layer import Trunk

    head = dict(spec.pop("head", {}))
    head |= {key: spec.pop(key) for key in ("num_classes", "labels", "normalize") if key in spec}
    training = spec.pop("training", None)
    frozen = spec.pop("trunk", "frozen") == "frozen"
    trunk = Trunk(pretrained, frozen=frozen, name="trunk", **spec)
    return cls.on(trunk, head, training=training, name=recipe)


POSITIVE = ["good film", "great movie", "a nice cat", "the good dog is great", "nice and good"]
NEGATIVE = ["bad film", "awful movie", "a terrible cat", "the bad dog is awful", "bad and terrible"]
