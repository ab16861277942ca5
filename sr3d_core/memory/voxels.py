"""One point in each occupied voxel: the store behind a scene in memory.

A voxel is found by its key in a sorted list, its point lies in a slot that stays where it is.
Points that are forgotten leave an empty slot, which a new observation of the voxel fills again;
lists are closed up when a quarter of the slots is empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from sr3d_core.memory.settings import Fusion

_BITS = 21  # of each coordinate in a key: +-20 km in voxels of 2 cm
_CENTER = 1 << (_BITS - 1)
EMPTY = -1
"""The frame of a slot that holds no point."""


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """One frame's points, one in each voxel, by rising key."""

    key: Int[ndarray, " V"]
    xyz: Float[ndarray, "3 V"]  # metres from the store's origin
    rgb: Float[ndarray, "3 V"]  # 0..1, NaN where unknown
    weight: Float[ndarray, " V"]  # 1 / range^2


def first_in_each_voxel(
    xyz: Float[ndarray, "3 N"], voxel_m: float
) -> tuple[Int[ndarray, " V"], Int[ndarray, " V"]]:
    """Keys of the occupied voxels, rising, and the first point of each.

    A frame spans less than 2^17 voxels along each axis.
    """
    if xyz.shape[1] == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    place = np.floor(xyz * np.float32(1.0 / voxel_m))
    low = place.min(axis=1)
    place -= low[:, None]
    _, y, z = (int(side) + 1 for side in place.max(axis=1))
    voxel = np.array([y * z, z, 1.0]) @ place  # in float64, below 2^53: exact
    starts = np.ones(len(voxel), dtype=bool)  # neighbors in an image often share a voxel
    starts[1:] = voxel[1:] != voxel[:-1]
    index = np.flatnonzero(starts)
    starting = voxel.take(index).astype(np.int64)
    order = _rising(starting)
    starting = starting.take(order)
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = starting[1:] != starting[:-1]
    first = index.take(order[is_first])
    keys = keys_of(place.take(first, axis=1).astype(np.int64) + low[:, None].astype(np.int64))
    return keys, first


def _rising(values: Int[ndarray, " N"]) -> Int[ndarray, " N"]:
    """The order that sorts values of 0 or more; equal ones stay in theirs.

    Digit by digit, lowest first: numpy sorts 16 bits by counting, which takes a quarter of the
    time of sorting 64 bits by comparing.
    """
    order = np.argsort(values.astype(np.uint16), kind="stable")  # of larger ones the low 16 bits
    highest, shift = int(values.max()), 16
    while highest >> shift:
        digit = (values >> shift).astype(np.uint16)
        order = order.take(np.argsort(digit.take(order), kind="stable"))
        shift += 16
    return order


def keys_of(place: Int[ndarray, "3 V"]) -> Int[ndarray, " V"]:
    """The key of each voxel; they rise with x, then y, then z."""
    x, y, z = place + _CENTER
    keys: Int[ndarray, " V"] = (x << _BITS | y) << _BITS | z
    return keys


class VoxelStore:
    """Points by voxel. Slots are 0..`size`-1; those with `frame` EMPTY hold nothing."""

    def __init__(self, fusion: Fusion) -> None:
        self._fusion = fusion
        self._key = np.zeros(0, np.int64)
        self._slot = np.zeros(0, np.int64)
        self._allocate(1 << 14)
        self.size = 0

    def _allocate(self, capacity: int) -> None:
        self._xyz = np.zeros((3, capacity), np.float32)
        self._rgb = np.zeros((3, capacity), np.float32)
        self._weight = np.zeros(capacity, np.float32)
        self._frame = np.full(capacity, EMPTY, np.int32)
        self._misses = np.zeros(capacity, np.uint8)

    @property
    def xyz(self) -> Float[ndarray, "3 S"]:
        """Metres from the store's origin."""
        return self._xyz[:, : self.size]

    @property
    def rgb(self) -> Float[ndarray, "3 S"]:
        """0..1, NaN where unknown."""
        return self._rgb[:, : self.size]

    @property
    def weight(self) -> Float[ndarray, " S"]:
        """1 / range^2 of the observation that is kept, or of all of them together."""
        return self._weight[: self.size]

    @property
    def frame(self) -> Int[ndarray, " S"]:
        """The number of the frame that saw each point last."""
        return self._frame[: self.size]

    @property
    def misses(self) -> Int[ndarray, " S"]:
        """How many frames have looked through each point since it was seen."""
        return self._misses[: self.size]

    @property
    def num_points(self) -> int:
        """How many slots hold a point."""
        return int(np.count_nonzero(self.frame != EMPTY))

    def observe(self, new: Observed, frame: int) -> None:
        """Take a frame's points in; `frame` is its number, not below those before."""
        at = np.searchsorted(self._key, new.key)
        is_known = np.zeros(len(at), dtype=bool)
        if len(self._key):  # beyond its end lies what is above its last
            np.equal(self._key.take(at, mode="clip"), new.key, out=is_known)
        known, fresh = np.flatnonzero(is_known), np.flatnonzero(~is_known)
        self._update(new, known, self._slot.take(at.take(known)), frame)
        slots = self._append(new, fresh, frame)
        to = at[fresh] + np.arange(len(fresh))  # where they come to lie in the longer list
        is_old = np.ones(len(self._key) + len(fresh), dtype=bool)
        is_old[to] = False
        self._key = _with(self._key, is_old, new.key.take(fresh), to)
        self._slot = _with(self._slot, is_old, slots, to)

    def _update(
        self, new: Observed, row: Int[ndarray, " K"], slot: Int[ndarray, " K"], frame: int
    ) -> None:
        # Row by row with `take`: an index into both sides of a matrix costs ten times as much.
        weight, old = new.weight.take(row), self._weight.take(slot)
        old[self._frame.take(slot) == EMPTY] = 0.0
        if self._fusion == "nearest":
            is_better = weight >= old
            row, to = row[is_better], slot[is_better]
            for mine, theirs in self._pairs(new):
                mine[to] = theirs.take(row)
            self._weight[to] = new.weight.take(row)
        else:
            total = old + weight
            for mine, theirs in self._pairs(new):
                mine[slot] = _mean(mine.take(slot), theirs.take(row), weight / total)
            self._weight[slot] = total
        self._frame[slot] = frame
        self._misses[slot] = 0

    def _append(self, new: Observed, rows: Int[ndarray, " F"], frame: int) -> Int[ndarray, " F"]:
        first, self.size = self.size, self.size + len(rows)
        if self.size > len(self._frame):
            self._grow(first)
        slots = np.arange(first, self.size)
        for mine, theirs in self._pairs(new):
            mine[first : self.size] = theirs.take(rows)
        self._weight[first : self.size] = new.weight.take(rows)
        self._frame[first : self.size] = frame
        self._misses[first : self.size] = 0
        return slots

    def _pairs(self, new: Observed) -> Iterator[tuple[Float[ndarray, " S"], Float[ndarray, " V"]]]:
        """Each coordinate and color of the store with the frame's."""
        return zip((*self._xyz, *self._rgb), (*new.xyz, *new.rgb), strict=True)

    def _grow(self, num_used: int) -> None:
        before = self._columns()
        self._allocate(max(2 * len(self._frame), self.size))
        for old, new in zip(before, self._columns(), strict=True):
            new[..., :num_used] = old[..., :num_used]

    def _columns(self) -> tuple[ndarray, ...]:
        return self._xyz, self._rgb, self._weight, self._frame, self._misses

    def forget(self, slots: Int[ndarray, " F"]) -> None:
        """Empty these slots; others may move, so slots that were asked for earlier are void."""
        if not len(slots):
            return
        self._frame[slots] = EMPTY
        is_used = self.frame != EMPTY
        if np.count_nonzero(is_used) > 0.75 * self.size:
            return
        kept = np.flatnonzero(is_used)
        for values in (*self._xyz, *self._rgb, self._weight, self._frame, self._misses):
            values[: len(kept)] = values.take(kept)
        moved_to = np.cumsum(is_used) - 1
        in_list = is_used.take(self._slot)
        self._key, self._slot = self._key[in_list], moved_to.take(self._slot[in_list])
        self.size = len(kept)

    def shift(self, place: Int[ndarray, " 3"], voxel_m: float) -> None:
        """Move the origin by a whole number of voxels."""
        if not len(self._key):
            return
        x, y, z = place.tolist()
        self._key -= (x << 2 * _BITS) + (y << _BITS) + z
        self._xyz -= (place * voxel_m)[:, None].astype(np.float32)


def _with(
    old: Int[ndarray, " K"], is_old: Bool[ndarray, " L"], new: Int[ndarray, " F"],
    to: Int[ndarray, " F"],
) -> Int[ndarray, " L"]:  # fmt: skip
    """The old entries in their order with the new ones at these places between them."""
    longer = np.empty(len(is_old), old.dtype)
    longer[is_old] = old
    longer[to] = new
    return longer


def _mean(
    old: Float[ndarray, " K"], new: Float[ndarray, " K"], share: Float[ndarray, " K"]
) -> Float[ndarray, " K"]:
    """A running mean; `share` is the new value's, which holds alone where the old is unknown."""
    mean = old + share * (new - old)
    return np.where(np.isfinite(mean), mean, new)
