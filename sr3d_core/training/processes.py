"""Several processes that train one network together, and what they tell each other.

They are started by torchrun, which says in the environment how many there are. Each sees its
share of a step's scenes; losses, gradients and statistics are summed, so that the step is that of
one process with all scenes. With one process nothing here does anything.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sr3d_core.training.errors import ProcessLostError, TrainingError

_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
_RANKS = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
_START = "start N processes with torchrun --nproc_per_node N -m sr3d_core.cli.main train ..."


def launched_processes(environment: Mapping[str, str]) -> int:
    """How many processes the environment says were started, 1 where it says nothing.

    Raises TrainingError where it contradicts itself: the others would be waited for in vain.
    """
    size = _first(environment, _SIZES)
    rank = _first(environment, _RANKS)
    is_of_accelerate = {"MASTER_ADDR", "ACCELERATE_MIXED_PRECISION"} <= set(environment)
    if size is None and is_of_accelerate:
        raise TrainingError(
            "accelerate launch was asked for several processes and started one (MASTER_ADDR "
            f"is set, WORLD_SIZE is not); expected both or neither: {_START}"
        )
    num = 1 if size is None else size
    if num < 1 or (rank is None and num > 1) or (rank is not None and not 0 <= rank < num):
        shown = ["not set" if value is None else value for value in (size, rank)]
        raise TrainingError(
            f"WORLD_SIZE is {shown[0]} and RANK is {shown[1]}; expected a rank below a size of at "
            f"least 1: {_START}, or unset both"
        )
    return num


def is_main_process(environment: Mapping[str, str]) -> bool:
    """Whether this process is the one that talks to the user, before it knows the others.

    Raises TrainingError for a rank that is no number.
    """
    return _first(environment, _RANKS) in (None, 0)


def _first(environment: Mapping[str, str], names: Iterable[str]) -> int | None:
    for name in names:
        if name in environment:
            try:
                return int(environment[name])
            except ValueError as error:
                raise TrainingError(
                    f"{name} is {environment[name]!r}, expected a whole number: {_START}"
                ) from error
    return None


def scenes_per_process(batch_size: int, num_processes: int) -> int:
    """Each process's share of the scenes of a step; raises TrainingError where they differ."""
    share, rest = divmod(batch_size, num_processes)
    if rest:
        raise TrainingError(
            f"schedule.batch_size is {batch_size} scenes a step for {num_processes} processes; "
            f"expected a multiple of {num_processes}, such as {(share + 1) * num_processes}: "
            "change it or start another number of processes"
        )
    return share


@lru_cache(maxsize=1)
def leave_at_exit() -> None:
    """Leave the other processes when the interpreter ends, not after it.

    Threads of the connection that outlive it can abort the process, and a good training would end
    as a failed one.
    """
    atexit.register(_leave)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def sum_over_all(own: Tensor) -> Tensor:
    """The sum of all processes' tensors, in place of the own one."""
    with _exchange():
        dist.all_reduce(own)
    return own


@contextmanager
def _exchange() -> Iterator[None]:
    """Within, a process that is gone raises ProcessLostError."""
    try:
        yield
    except RuntimeError as error:  # of gloo and NCCL
        raise ProcessLostError(
            f"another process of this training cannot be reached ({_first_line(error)}); expected "
            "all of them to the end: see what it said, or whether the system ended it to save "
            "memory, then go on with --resume"
        ) from error


def _first_line(error: Exception) -> str:
    """What an error says, in plain characters: gloo paints some."""
    line = str(error).partition("\n")[0].encode("ascii", "ignore").decode()
    return line.strip().rstrip(".")


@dataclass(frozen=True)
class Processes:
    """This process among all; every method is called by all of them, in the same order."""

    rank: int
    num: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this is the one that writes files and talks to the user."""
        return self.rank == 0

    def total(self, number: int) -> int:
        """The sum of everyone's number."""
        if self.num == 1:
            return number
        return int(sum_over_all(torch.tensor(number, device=self.device)))

    def summed(self, own: Tensor) -> Tensor:
        """The sum of everyone's tensor, without gradient."""
        return own.detach() if self.num == 1 else sum_over_all(own.detach().clone())

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag, whether any process says so."""
        if self.num == 1:
            return flags
        votes = torch.tensor(flags, dtype=torch.int32, device=self.device)
        return tuple(bool(vote) for vote in sum_over_all(votes).tolist())

    def all_of(self, value: Any) -> list[Any]:
        """Everyone's value, in the order of their ranks."""
        if self.num == 1:
            return [value]
        values: list[Any] = [None] * self.num
        with _exchange():
            dist.all_gather_object(values, value)
        return values

    def main_says(self, text: str) -> str:
        """What the main process gives."""
        return str(self.all_of(text)[0])

    def copy_from_main(self, tensors: Mapping[str, Tensor]) -> None:
        """Fill everyone's tensors with the main process's."""
        if self.num > 1:
            with _exchange():
                for tensor in tensors.values():
                    dist.broadcast(tensor, src=0)

    @torch.no_grad()
    def sum_gradients(self, network: nn.Module) -> None:
        """Give everyone the sum of all gradients; one that nobody has stays None.

        One message for all: a process that saw nothing has no gradients, and takes part.
        """
        if self.num == 1:
            return
        parameters = [p for p in network.parameters() if p.requires_grad]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        has_gradient = [float(p.grad is not None) for p in parameters]
        flat = torch.cat([g.reshape(-1) for g in gradients] + [self._vector(has_gradient)])
        *sums, counts = sum_over_all(flat).split(
            [p.numel() for p in parameters] + [len(parameters)]
        )
        for parameter, gradient, count in zip(parameters, sums, counts.tolist(), strict=True):
            parameter.grad = gradient.view_as(parameter) if count else None

    def sums(self, values: list[Tensor]) -> list[Tensor]:
        """The sums of everyone's scalars, without gradient."""
        if self.num == 1:
            return values
        return list(sum_over_all(torch.stack([value.detach() for value in values])).unbind())

    def _vector(self, values: list[float]) -> Tensor:
        return torch.tensor(values, device=self.device)


ALONE = Processes(0, 1, torch.device("cpu"))
"""One process that learns by itself."""
