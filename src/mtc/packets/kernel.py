"""How the kernels of this room are compiled.

Every kernel is a plain function over arrays and integers, compiled by numba on first use and cached
on disk. Kernels trust nothing but ``caplen``: whatever they read, they first compare its end with
the end of the captured packet.
"""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


_PART: Any = {"nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile what Python calls (cached on disk, releases the interpreter lock)."""
    return cast("Callable[P, R]", numba.njit(cache=True, nogil=True)(function))


def part(function: Callable[P, R]) -> Callable[P, R]:
    """Compile what only kernels call; it is cached as part of them."""
    return cast("Callable[P, R]", numba.njit(**_PART)(function))


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Like ``part``, for what every packet passes: compiled into its callers."""
    return cast("Callable[P, R]", numba.njit(forceinline=True, **_PART)(function))


RAW_IP = 1
"""IPv4 or IPv6, by its first four bits."""
ETHERNET = 2
LLC = 3
"""IEEE 802.2."""
PPP = 4
"""PPP, with or without its HDLC address and control bytes."""
MPLS = 5
PPPOE = 6

IPV4 = 0x0800
IPV6 = 0x86DD
