"""A moving average of the weights, which is what a run validates, keeps and scores.

The weights of single steps scatter around where training leads; their mean lies closer to it.

Source: Polyak, Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM J. Control Optim.
1992; with exponential weights as in Tarvainen, Valpola, "Mean teachers", NeurIPS 2017.
"""

from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from mtc.models.networks.base import Network

PREFIX = "module."
"""What the names of the averaged network begin with in the library's state."""


Tensors = tuple[Tensor, ...] | list[Tensor]


class MovingAverage:
    """The exponentially weighted mean of a network's weights after each step.

    The mean is that of the steps taken, without the weights that training began with: after n steps of
    decay d, the last one counts (1 - d) / (1 - d^n). Running statistics of batch normalization are not
    averaged, but those of the last step: measured, that was better throughout (docs/fields.md).

    It is a copy beside the network. Training never sees it, and nothing has to be swapped for a validation.
    """

    def __init__(self, network: Network, decay: float) -> None:
        """Args: what is trained, and how much of the mean is kept in a step, in [0, 1)."""
        self._decay = decay
        self._model = AveragedModel(network, multi_avg_fn=self._mix, use_buffers=False)
        self._model.eval()

    @property
    def network(self) -> Network:
        """The network with averaged weights, in evaluation mode."""
        averaged = self._model.module
        assert isinstance(averaged, Network)
        return averaged

    def to(self, device: torch.device) -> None:
        """Move to where the trained network is."""
        self._model.to(device)

    def update(self, network: Network) -> None:
        """Take the weights of a step."""
        self._model.update_parameters(network)

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged network, by the names of the network's own state, and ``n_averaged``."""
        state = self._model.state_dict()
        return {name.removeprefix(PREFIX): value for name, value in state.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what ``state_dict`` gave."""
        named = {name if name == "n_averaged" else PREFIX + name: value for name, value in state.items()}
        self._model.load_state_dict(named)

    @torch.no_grad()
    def _mix(self, averaged: Tensors, current: Tensors, before: Tensor | int) -> None:
        """Move parameters towards those of a step, before which ``before`` steps were taken."""
        share = (1 - self._decay) / (1 - self._decay ** (int(before) + 1))
        torch._foreach_lerp_(averaged, current, share)
