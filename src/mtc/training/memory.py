"""Memory of one step kept for the next."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h
_NEVER = -1


def keep_freed_memory() -> bool:
    """Let this process keep memory that is freed, instead of giving it back to the system.

    The features of a step are tens of megabytes a layer. By default each goes back when it is freed, and
    the next one is made of fresh pages, which the system clears one by one: on long packets that took 29 %
    of a step's time (docs/training.md). What a process holds at most grows a little.

    Returns:
        Whether it could be set; only the GNU C library knows how.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, _NEVER))
