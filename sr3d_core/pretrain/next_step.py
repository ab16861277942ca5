"""What to do with a pre-trained backbone: the training that has the same network."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from pathlib import Path

from sr3d_core.data.sources import READERS
from sr3d_core.model.network import PRESETS
from sr3d_core.pretrain.settings import Pretraining
from sr3d_core.training.warm_start import backbone_differences

_SHIPPED = "lite"
"""The network of the trainings `rooms` and `own_data`."""


def how_to_train(settings: Pretraining, sources: Iterable[str], weights: Path) -> str:
    """A command that starts from these weights, on data of the kind that they have learnt from."""
    init = f"--init {shlex.quote(str(weights))}"
    if backbone_differences(PRESETS[_SHIPPED], settings.architecture):
        network = {"preset": settings.preset, "changes": settings.changes}
        return (
            f"sr3d train CONFIG.yaml {init}, where CONFIG.yaml has the same network: "
            f"{json.dumps(network)}"
        )
    readers = {name: source for source in sources if (name := source.partition(":")[0]) in READERS}
    if "rooms" in readers:
        return f"sr3d train --preset rooms {init}"
    if readers:
        return f"sr3d train --data {shlex.quote(next(iter(readers.values())))} {init}"
    return (
        f"sr3d train my_rooms/my_rooms.yaml {init}, on labelled scenes of your own (sr3d data "
        "init my_rooms), or sr3d train --preset rooms with the same --init, on procedural rooms"
    )
