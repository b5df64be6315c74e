"""What can go wrong in the training library, as errors of this package."""

import contextlib
import signal
import warnings
from collections.abc import Iterator

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import distributed

from mtc.config import TrainConfig
from mtc.errors import MtcError, UsageError

OUT_OF_MEMORY = ("can't allocate memory", "out of memory")
LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Timed out", "timed out")


class Interrupted(MtcError):  # noqa: N818 - a statement, like those of mtc.errors
    """The process was asked to end while it trained; the run can be resumed."""

    exit_status = 130


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the training library's advice (workers, loggers, folders) from the user."""
    with warnings.catch_warnings():
        for module in (r"lightning", r"torch\.utils\.data", r"torch\.nn\.parallel", r"torch\.distributed"):
            warnings.filterwarnings("ignore", module=module)
        yield


@contextlib.contextmanager
def clear_errors(train: TrainConfig) -> Iterator[None]:
    """Around a fit.

    Raises:
        UsageError: Memory ran out, there are fewer devices than asked for, or another process of the run
            was lost.
        Interrupted: The process got SIGTERM.
        KeyboardInterrupt: The process got Ctrl-C.
    """
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        with memory_errors(f"at train.batch_size={train.batch_size}: take a smaller one"):
            yield
    except SIGTERMException as error:
        raise Interrupted("ended by SIGTERM; the state is saved, --resume continues the run") from error
    except SystemExit as error:  # what the training library makes of Ctrl-C
        signal.signal(signal.SIGINT, on_interrupt)
        raise KeyboardInterrupt from error
    except MisconfigurationException as error:
        raise UsageError(f"train.devices={train.devices}: {' '.join(str(error).split())}") from error
    except RuntimeError as error:
        lost = isinstance(error, distributed.DistError) or any(text in str(error) for text in LOST)
        if train.devices * train.nodes == 1 or not lost:
            raise
        raise UsageError(
            "another process of the run is gone; --resume continues from the last epoch"
        ) from error


@contextlib.contextmanager
def memory_errors(where: str) -> Iterator[None]:
    """Tell where memory ran out, and what to do.

    Raises:
        UsageError: It did.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise UsageError(f"memory ran out {where}") from error
    except RuntimeError as error:
        if not any(text in str(error) for text in OUT_OF_MEMORY):
            raise
        raise UsageError(f"memory ran out {where}") from error
