"""The places of a built trunk, and the same by arithmetic."""

from dataclasses import replace

from kzoo.backbones.dims import Dims


def test_arithmetic_gives_the_places_of_the_built_trunk(tiny_trunk):
    built = tiny_trunk.family.places(tiny_trunk.backbone)
    bare = [replace(place, layer=None, method="call") for place in built]
    assert bare == Dims.of(tiny_trunk.backbone).places()
    assert len({place.key for place in built}) == len(built)
