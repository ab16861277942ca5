"""Which objects are worth imitating, as a weight of 0 to 1 each.

`need`: the student does not know how far away the object is. `trust`: the teacher got it right.
Published weights are in metres: an object whose depth is known to a metre has no need. Indoors
that is every object, so the standard deviation that counts as good is a number of its own here.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Selection = Literal["uniform", "need", "trust", "both"]
"""uniform: all alike. need, trust: see above. both: their product."""
LITERAL_STD_M = 1.0
"""The reference with which `need` is the published weight: metres as they are."""
_AUTO_SHARE = 0.5


def need(std_m: Float[Tensor, " K"], reference_m: float) -> Float[Tensor, " K"]:
    """`1 - min(1, reference / std)`: 0 where the depth is known as well as the reference.

    `std_m` is the standard deviation of the student's depth of each object.
    """
    return 1 - (reference_m / std_m.clamp(min=1e-6)).clamp(max=1.0)


def automatic_reference(std_m: Float[Tensor, " K"]) -> float:
    """Half the median deviation of a student who was not taught: half of its objects need more.

    Raises ValueError without objects.
    """
    if not len(std_m):
        raise ValueError("no objects to measure the student's depth at; expected at least one")
    return _AUTO_SHARE * float(std_m.double().quantile(0.5))


def object_std(
    variance_m2: Float[Tensor, " N"], is_of: Bool[Tensor, "N K"]
) -> Float[Tensor, " K"]:
    """Root mean square over each object's pixels of what the student's depth may be off by.

    The spread of the surface itself is not added. NaN for an object without pixels.
    """
    own = is_of.to(variance_m2.dtype)
    return ((variance_m2 @ own) / own.sum(dim=0)).sqrt()


def object_weights(
    selection: Selection,
    std_m: Float[Tensor, " K"],
    trust: Float[Tensor, " K"],
    reference_m: float,
) -> Float[Tensor, " K"]:
    """The weight of each object, without gradient; one of unknown depth has full need."""
    needed = need(std_m.nan_to_num(float("inf")), reference_m)
    weights = {
        "uniform": torch.ones_like(trust),
        "need": needed,
        "trust": trust.clamp(0.0, 1.0),
        "both": needed * trust.clamp(0.0, 1.0),
    }
    return weights[selection].detach()
