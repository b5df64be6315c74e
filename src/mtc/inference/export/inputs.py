"""Preprocessing as part of the exported graph: from what a user has to what a network reads.

Each module here does in PyTorch's plain operations what the package does in NumPy, so that the exported
model takes raw samples or raw flow features, and nothing has to be computed outside of it.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mtc.datasets import QuantileScaler
from mtc.models.fields.inputs import FieldBatch
from mtc.models.fields.numbers import BEYOND, SUMMED_BYTES, WORDS, number_scales
from mtc.models.shallow.inputs import FIELDS, MISSING, field_places
from mtc.packets.fields import SAMPLE_LENGTH, TRANSPORT_LENGTH, Mask, masked_ranges
from mtc.packets.transport import TCP, UDP

KINDS = ((4, TCP), (4, UDP), (6, TCP), (6, UDP))
"""IP version and transport of samples; others are masked nowhere and have no header fields."""

HEADERS = 60
"""Bytes of a sample's longest headers."""


class MaskedSamples(nn.Module):
    """uint8 (N, 1500), as ``mtc.read_samples`` gives them -> the same with the mask applied, float32.

    It does what ``mtc.packets.mask_samples`` does.
    """

    keep: Tensor

    def __init__(self, mask: Mask) -> None:
        super().__init__()
        keep = np.ones((len(KINDS), HEADERS), np.float32)
        for row, kind in enumerate(KINDS):
            for begin, end in masked_ranges(*kind, mask):
                keep[row, begin:end] = 0.0
        self.register_buffer("keep", torch.from_numpy(keep))

    def forward(self, samples: Tensor) -> Tensor:
        """uint8 (N, 1500) -> float32 (N, 1500), whole numbers from 0 to 255."""
        x_BL = samples.to(torch.float32)
        kinds_BK = kind_of(x_BL).to(torch.float32)
        # A sample of no kind keeps all its bytes.
        hidden_BH = kinds_BK @ (1.0 - self.keep)
        return torch.cat([x_BL[:, :HEADERS] * (1.0 - hidden_BH), x_BL[:, HEADERS:]], 1)


class ScaledSamples(nn.Module):
    """uint8 (N, 1500) -> float32 (N, 1500) in [0, 1], masked."""

    def __init__(self, mask: Mask) -> None:
        super().__init__()
        self.masked = MaskedSamples(mask)

    def forward(self, samples: Tensor) -> Tensor:
        """Mask and scale."""
        scaled: Tensor = self.masked(samples) / 255.0
        return scaled


class SampleFields(nn.Module):
    """uint8 (N, 1500) -> leading bytes, numbers and their presence.

    It does what ``mtc.models.fields.inputs.pack_fields`` does, in double precision as there.
    """

    weights: Tensor
    has: Tensor
    scales: Tensor

    def __init__(self, mask: Mask, leading: int) -> None:
        """Args: the model's mask, and how many leading bytes it reads."""
        super().__init__()
        self.masked, self.leading = MaskedSamples(mask), leading
        weights = np.zeros((HEADERS, len(KINDS), len(FIELDS)))
        has = np.zeros((len(KINDS), len(FIELDS)))
        column = {name: i for i, name in enumerate(FIELDS)}
        for kind, (version, protocol) in enumerate(KINDS):
            for name, start, width in field_places(version, protocol):
                if name in column:
                    has[kind, column[name]] = 1.0
                    weights[start : start + width, kind, column[name]] = 256.0 ** np.arange(width)[::-1]
        self.register_buffer("weights", torch.from_numpy(weights.reshape(HEADERS, -1)))
        self.register_buffer("has", torch.from_numpy(has))
        self.register_buffer("scales", torch.from_numpy(number_scales()))

    def forward(self, samples: Tensor) -> FieldBatch:
        """Mask, and read off."""
        x_BL = self.masked(samples)
        lengths_B1 = _length(x_BL)
        place_P = torch.arange(self.leading)
        leading_BP = x_BL[:, : self.leading].to(torch.int64)
        categories_BP = torch.where(place_P < lengths_B1, leading_BP, BEYOND)
        numbers_BF = self._numbers(x_BL, lengths_B1)
        present_BF = numbers_BF != MISSING
        scaled_BF = torch.where(present_BF, numbers_BF / self.scales, 0.0)
        places_BP = categories_BP + place_P * (BEYOND + 1)
        return FieldBatch(places_BP, scaled_BF.to(torch.float32), present_BF.to(torch.float32))

    def _numbers(self, x_BL: Tensor, lengths_B1: Tensor) -> Tensor:
        """float64 (B, F), -1 where a packet has no such field."""
        kinds_BK = kind_of(x_BL).to(torch.float64)
        every_BKF = (x_BL[:, :HEADERS].to(torch.float64) @ self.weights).reshape(-1, len(KINDS), len(FIELDS))
        fields_BF = (every_BKF * kinds_BK[:, :, None]).sum(1)
        fields_BF = torch.where(kinds_BK @ self.has > 0, fields_BF, MISSING)
        column = {name: fields_BF[:, i : i + 1] for i, name in enumerate(FIELDS)}
        src, dst = (torch.maximum(column[f"tcp_{e}_port"], column[f"udp_{e}_port"]) for e in ("src", "dst"))
        start_B1 = _start(x_BL)
        lengths_B1 = lengths_B1.to(torch.float64)
        ports = [torch.minimum(src, dst), torch.maximum(src, dst)]
        return torch.cat(
            [fields_BF, *ports, lengths_B1, _words(x_BL, lengths_B1), _payload(x_BL, start_B1, lengths_B1)], 1
        )


class ScaledFeatures(nn.Module):
    """float32 (N, 78), in CICFlowMeter's order -> the model's features in [0, 1].

    It does what ``mtc.datasets.QuantileScaler.transform`` does, to the last bit, by a search in
    ``log2(levels)`` steps: a network may separate a value from its neighbour in floating point.
    """

    levels: Tensor
    ranks: Tensor
    chosen: Tensor

    def __init__(self, scaler: QuantileScaler, chosen: NDArray[np.int64]) -> None:
        super().__init__()
        count, features = scaler.quantiles.shape
        self.count, self.size = count, 1 << count.bit_length()
        levels = np.full((features, self.size), np.inf)
        levels[:, :count] = scaler.quantiles.T
        self.register_buffer("levels", torch.from_numpy(levels.reshape(-1)))
        self.register_buffer("ranks", torch.from_numpy(np.linspace(0.0, 1.0, count)))
        self.register_buffer("chosen", torch.from_numpy(chosen))

    def forward(self, values: Tensor) -> Tensor:
        """float32 (N, 78) -> float32 (N, features); NaN counts as 0, Infinity as the maximum."""
        x_BF = values.to(torch.float32).to(torch.float64).index_select(1, self.chosen)
        first_F = torch.arange(len(self.chosen)) * self.size
        low_F, high_F = self.levels[first_F], self.levels[first_F + self.count - 1]
        x_BF = torch.where(torch.isnan(x_BF), 0.0, x_BF)
        x_BF = torch.where(x_BF == torch.inf, high_F, torch.where(x_BF == -torch.inf, low_F, x_BF))
        # A value may stand at several ranks: count the levels below it, and those up to it.
        below_BF = self._search(x_BF, first_F, equal=False)
        up_to_BF = self._search(x_BF, first_F, equal=True)
        between_BF = self._between(x_BF, first_F, up_to_BF - 1)
        last_BF = self.ranks[(up_to_BF - 1).clamp(0, self.count - 1)]
        stands_BF = (self.ranks[below_BF.clamp(0, self.count - 1)] + last_BF) / 2
        rank_BF = torch.where(below_BF < up_to_BF, stands_BF, between_BF)
        highest = 1.0 if self.count > 1 else 0.0
        rank_BF = torch.where(x_BF >= high_F, highest, rank_BF)
        return torch.where(x_BF <= low_F, 0.0, rank_BF).to(torch.float32)

    def _search(self, x_BF: Tensor, first_F: Tensor, *, equal: bool) -> Tensor:
        """How many levels are smaller than, or at most, each value: int64 (B, F)."""
        found_BF = torch.zeros_like(x_BF, dtype=torch.int64)
        step = self.size // 2
        while step:
            level_BF = self.levels[first_F + found_BF + (step - 1)]
            smaller = level_BF <= x_BF if equal else level_BF < x_BF
            found_BF = found_BF + smaller.to(torch.int64) * step
            step //= 2
        return found_BF

    def _between(self, x_BF: Tensor, first_F: Tensor, level_BF: Tensor) -> Tensor:
        """Rank in [0, 1] of values strictly between a level and the next, as ``numpy.interp`` rounds it."""
        level_BF = level_BF.clamp(0, max(self.count - 2, 0))
        next_BF = level_BF + min(1, self.count - 1)
        low_BF, high_BF = self.levels[first_F + level_BF], self.levels[first_F + next_BF]
        gap_BF = torch.where(high_BF > low_BF, high_BF - low_BF, 1.0)
        slope_BF = (self.ranks[next_BF] - self.ranks[level_BF]) / gap_BF
        forwards_BF = slope_BF * (x_BF - low_BF) + self.ranks[level_BF]
        backwards_BF = self.ranks[next_BF] - slope_BF * (high_BF - x_BF)
        return (forwards_BF + backwards_BF) / 2


def kind_of(x_BL: Tensor) -> Tensor:
    """Which of ``KINDS`` samples are, as their own bytes say: bool (B, 4), all false for none."""
    version_B1 = torch.floor(x_BL[:, :1] / 16.0)
    protocol_B1 = torch.where(version_B1 == 6, x_BL[:, 6:7], x_BL[:, 9:10])
    kinds = [(version_B1 == version) & (protocol_B1 == protocol) for version, protocol in KINDS]
    return torch.cat(kinds, 1)


def _length(x_BL: Tensor) -> Tensor:
    """Bytes up to the last that is not zero, int64 (B, 1)."""
    place_L = torch.arange(1, SAMPLE_LENGTH + 1)
    return torch.where(x_BL != 0, place_L, 0).amax(1, keepdim=True)


def _start(x_BL: Tensor) -> Tensor:
    """Where the payload begins, float64 (B, 1)."""
    ipv6_B1 = torch.floor(x_BL[:, :1] / 16.0) == 6
    return torch.where(ipv6_B1, 40.0, 20.0).to(torch.float64) + TRANSPORT_LENGTH


def _words(x_BL: Tensor, lengths_B1: Tensor) -> Tensor:
    """The first pairs of payload bytes as numbers, float64 (B, words)."""
    short, long = 20 + TRANSPORT_LENGTH, 40 + TRANSPORT_LENGTH
    ipv6_B1 = _start(x_BL) == long
    payload_BQ = torch.where(ipv6_B1, x_BL[:, long : long + 2 * WORDS], x_BL[:, short : short + 2 * WORDS])
    pairs_BW2 = payload_BQ.to(torch.float64).reshape(-1, WORDS, 2)
    first_BW = _start(x_BL) + 2 * torch.arange(WORDS)
    return torch.where(first_BW < lengths_B1, 256.0 * pairs_BW2[:, :, 0] + pairs_BW2[:, :, 1], MISSING)


def _payload(x_BL: Tensor, start_B1: Tensor, lengths_B1: Tensor) -> Tensor:
    """Mean byte of the payload, and its shares of text, high bytes and zeros, float64 (B, 4)."""
    place_L = torch.arange(SUMMED_BYTES)
    x_BL = x_BL[:, :SUMMED_BYTES].to(torch.float64)
    known_BL = ((place_L >= start_B1) & (place_L < lengths_B1)).to(torch.float64)
    count_B1 = known_BL.sum(1, keepdim=True).clamp(min=1.0)
    kinds = ((x_BL >= 32) & (x_BL < 127), x_BL > 127, x_BL == 0)
    parts = [x_BL * known_BL, *(kind.to(torch.float64) * known_BL for kind in kinds)]
    return torch.cat([part.sum(1, keepdim=True) for part in parts], 1) / count_B1
