"""Several processes of one run: which one this is, and what they must agree on.

Alone, every function here answers at once.
"""

import os
from typing import TypeVar

import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from torch import distributed, nn

from mtc.config import TrainConfig

T = TypeVar("T")


def share() -> tuple[int, int]:
    """Number of this process, from 0, and how many there are, once they are connected."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def expected_rank(train: TrainConfig) -> int:
    """Number that this process will have, before they are connected.

    ``torchrun`` or SLURM says it, or the number of the machine and of the process on it do (the training
    library starts the other processes of a machine with ``LOCAL_RANK``).
    """
    if train.devices * train.nodes == 1:
        return 0
    if "RANK" in os.environ:
        return int(os.environ["RANK"])
    if SLURMEnvironment.detect():
        return int(os.environ["SLURM_PROCID"])
    node = int(os.environ.get("NODE_RANK", os.environ.get("GROUP_RANK", "0")))
    return node * train.devices + int(os.environ.get("LOCAL_RANK", "0"))


def largest(value: float) -> float:
    """The largest of the processes' values; every process must ask."""
    if share()[1] == 1:
        return value
    found = torch.tensor(value, dtype=torch.float64, device=_device())
    distributed.all_reduce(found, distributed.ReduceOp.MAX)
    return float(found)


def any_of(flag: bool) -> bool:
    """Whether it is true for one of the processes; every process must ask."""
    return largest(float(flag)) > 0


def gathered(value: T) -> list[T]:
    """The values of all processes, in their order; every process must ask."""
    world = share()[1]
    if world == 1:
        return [value]
    values: list[T] = [value] * world
    distributed.all_gather_object(values, value)
    return values


def average_buffers(network: nn.Module) -> None:
    """Give all processes the mean of their running statistics, each of which saw its share of the samples."""
    world = share()[1]
    if world == 1:
        return
    for buffer in network.buffers():
        if buffer.is_floating_point():
            distributed.all_reduce(buffer)
            buffer /= world


def disconnect() -> None:
    """Let go of the other processes."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def _device() -> torch.device:
    on_gpu = distributed.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
