"""What tests of studies share."""

from __future__ import annotations

from sr3d_core.config import flat_config
from sr3d_core.study import Study


def assert_differs_in_its_own_keys_alone(study: Study, name: str) -> None:
    """A variant is a training, and differs from the first one where it says so, nowhere else."""
    plain, mine = (flat_config(study.parsed(each)) for each in (study.first, name))
    study.parsed(name).network.architecture(num_classes=20)
    differing = {key for key in plain | mine if plain.get(key) != mine.get(key)}
    own = {*study.variants[name], *study.variants[study.first]}
    if "starts_from" in own:
        own.add("network.weights")
    assert all(any(key.startswith(each) for each in own) for key in differing)
    assert bool(differing) == (name != study.first)
