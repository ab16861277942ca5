"""What tests of studies share."""

from __future__ import annotations

from sr3d_core.config import flat_config
from sr3d_core.study.kinds import KINDS
from sr3d_core.study.settings import Study


def assert_differs_in_its_own_keys_alone(study: Study, name: str) -> None:
    """A variant is a training, and differs from the first one where it says so, nowhere else."""
    plain, mine = (flat_config(study.parsed(each)) for each in (study.first, name))
    if "taught_by" not in study.variants[name]:  # else its teacher is yet to be trained
        study.parsed(name).architecture(num_classes=20)
    differing = {key for key in plain | mine if plain.get(key) != mine.get(key)}
    own = {*study.variants[name], *study.variants[study.first]}
    own |= {key for word, key in KINDS[study.trains].weights.items() if word in own}
    assert all(any(key.startswith(each) for each in own) for key in differing)
    assert bool(differing) == (name != study.first)
