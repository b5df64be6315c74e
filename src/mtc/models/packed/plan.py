"""Which positions and tokens of a zero-padded sample need computing: one for all that stay equal.

Most packets are far shorter than a sample. Right of a packet's end the input is constant, and the
network treats equal inputs equally, so most positions and tokens of the padding hold the same values
through every layer. This module finds out which, exactly: it sends identities instead of numbers
through the network's data flow (``_Identities``) and lets two positions share a *row*, or two tokens
an *entry*, only if their identities never differed. docs/engine.md derives what comes out.

In training, equal positions still have dropout masks of their own. There a few copies of each are
computed instead of one, so that means over the padding scatter little more than with all of them.

Only the token in which a sample ends matters, since zeros inside that token may count as bytes: so a
network needs ``tokens + 1`` plans, made once.
"""

from dataclasses import dataclass
from functools import cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mtc.config import ModelConfig

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DataFlow:
    """How far a network's layers carry differences between positions.

    Attributes:
        tokens: n, tokens of a sample.
        width: d, positions of a token.
        steps: The layers that mix positions, in order: ``conv`` (a 1x3 convolution), ``down``
            (tokens receive their positions), ``up`` (positions receive their token), ``place`` (tokens
            receive their place: a positional encoding).
        copies: How many of equal positions of a token, and of equal tokens, are computed: one is
            enough but for dropout, as many as there are is the dense computation.
    """

    tokens: int
    width: int
    steps: tuple[str, ...]
    copies: int = 1

    @classmethod
    def of_mtc(cls, config: ModelConfig, copies: int = 1) -> Self:
        """The data flow of MTC: one convolution in block 1, two and the fusion in blocks 2 and 3."""
        fused = ("conv", "down", "up", "conv") if config.fusion else ("conv", "conv")
        return cls(config.tokens, config.width, ("conv", *fused, *fused), copies)

    @classmethod
    def of_transformer(cls, config: ModelConfig, copies: int = 1) -> Self:
        """That of the Transformer: tokens know their place, so that none equals another."""
        return cls(config.tokens, config.width, ("place",), copies)


@dataclass(frozen=True, slots=True)
class PaddingPlan:
    """Rows and entries that stand for one sample whose bytes end in token ``live - 1``.

    A row is one position of the 1D-CNN branch, an entry one token of the Transformer branch. Rows
    are in the order of their positions, so that the neighbours of a row stand for the neighbours of
    its position; rows of one entry are consecutive.

    Attributes:
        position: int64 (rows,), the position that each row is computed at.
        weight: float32 (rows,), how many positions of its token a row stands for.
        entry: int64 (rows,), the entry that a row lies in.
        multiplicity: float32 (entries,), how many tokens an entry stands for.
        slot: int64 (tokens,), the entry that stands for each token.
    """

    position: Ints
    weight: NDArray[np.float32]
    entry: Ints
    multiplicity: NDArray[np.float32]
    slot: Ints


class _Identities:
    """Identities of positions and tokens: equal exactly where the values must be equal."""

    def __init__(self, flow: DataFlow, live: int) -> None:
        """Bytes of the first ``live`` tokens are all different, zeros behind them all equal."""
        size = flow.tokens * flow.width
        self.shape = (flow.tokens, flow.width)
        self.positions = np.arange(1, size + 1, dtype=np.int64)
        self.positions[live * flow.width :] = 0
        self.tokens = _renumber(self.positions.reshape(self.shape))
        self.before_conv: list[Ints] = []

    def conv(self) -> None:
        """A 1x3 convolution: a position takes in its two neighbours."""
        self.before_conv.append(self.positions)
        padded = np.pad(self.positions, 1, constant_values=-1)
        self.positions = _renumber(np.stack([padded[:-2], padded[1:-1], padded[2:]], axis=1))

    def down(self) -> None:
        """A token takes in its positions."""
        self.tokens = _renumber(np.column_stack([self.tokens, self.positions.reshape(self.shape)]))

    def place(self) -> None:
        """A token takes in its place."""
        self.tokens = _renumber(np.column_stack([self.tokens, np.arange(self.shape[0])]))

    def up(self) -> None:
        """A position takes in its token."""
        spread = np.repeat(self.tokens, self.shape[1])
        self.positions = _renumber(np.stack([self.positions, spread], axis=1))

    def part(self, copies: int) -> None:
        """Separate equal positions of a token, and equal tokens, again, in ``copies`` shares each."""
        self.down()
        self.tokens = _renumber(np.column_stack([self.tokens, _share(self.tokens, copies)]))
        token = np.repeat(np.arange(self.shape[0]), self.shape[1])
        inside = _renumber(np.stack([token, self.positions], axis=1))
        self.positions = _renumber(np.stack([self.positions, _share(inside, copies)], axis=1))


def _share(identities: Ints, copies: int) -> Ints:
    """Number of the share that each of the equal ones falls into: of about the same size, in order."""
    _, number, counts = np.unique(identities, return_inverse=True, return_counts=True)
    order = np.argsort(number, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    shares: Ints = rank * np.minimum(copies, counts)[number] // counts[number]
    return shares


def _renumber(keys: Ints) -> Ints:
    """One number for each different row of ``keys``."""
    numbers: Ints = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return numbers


@cache
def plan_for(flow: DataFlow, live: int) -> PaddingPlan:
    """Plan of a sample whose last non-zero byte lies in token ``live - 1`` (0: no such byte)."""
    identities = _Identities(flow, live)
    for step in flow.steps:
        getattr(identities, step)()
    if flow.copies > 1:
        identities.part(flow.copies)
    # A token is its own positions too, and a row belongs to one entry.
    identities.down()
    identities.up()

    _, first_token, slot = np.unique(identities.tokens, return_index=True, return_inverse=True)
    order = np.argsort(first_token)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    slot = rank[slot].astype(np.int64)
    kept = first_token[order]

    position, weight, entry = [], [], []
    grid = identities.positions.reshape(identities.shape)
    for number, token in enumerate(kept):
        _, first, count = np.unique(grid[token], return_index=True, return_counts=True)
        by_position = np.argsort(first)
        position.append(token * flow.width + first[by_position])
        weight.append(count[by_position])
        entry.append(np.full(len(first), number))
    plan = PaddingPlan(
        position=np.concatenate(position).astype(np.int64),
        weight=np.concatenate(weight).astype(np.float32),
        entry=np.concatenate(entry).astype(np.int64),
        multiplicity=np.bincount(slot).astype(np.float32),
        slot=slot,
    )
    _check_neighbours(plan, identities)
    return plan


def _check_neighbours(plan: PaddingPlan, identities: _Identities) -> None:
    """Make sure that the rows beside a row equal, at every convolution, what stands beside its position."""
    for before in identities.before_conv:
        padded = np.pad(before, 1, constant_values=-1)
        rows = np.pad(before[plan.position], 1, constant_values=-1)
        left = np.array_equal(rows[:-2], padded[plan.position])
        # The last position that a row stands for has the next row on its right.
        last = plan.position + plan.weight.astype(np.int64) - 1
        right = np.array_equal(rows[2:], padded[last + 2])
        if not (left and right and np.array_equal(before[last], before[plan.position])):
            raise AssertionError("rows of a plan do not stand beside each other as their positions do")
