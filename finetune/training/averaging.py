"""Averages of weights: an exponential moving average while training, and the mean of the best evaluations' weights.

The moving average covers trained parameters, the mean all floating-point tensors of a state dict.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from preprocessing.storage.atomic_write import atomic_file

STEPS = "steps"  # a key of the state dict; names of parameters have a dot in them


class MovingAverage:
    """Exponential moving average of the trained parameters: decay * average + (1 - decay) * weights after each step.

    decay: 0.999 averages about the last thousand steps. At first it is lowered to (1 + steps) / (10 + steps), so that
    the initial weights soon lose their influence.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        self._steps = 0
        self._trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self._average = {name: p.detach().clone() for name, p in self._trained.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Include the present weights; call it after each optimiser step."""
        self._steps += 1
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        blend = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        blend(list(self._average.values()), list(self._trained.values()), self._steps)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """A context in which the module has the averaged weights; its own ones come back at the end."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged parameters by name, and the number of steps; tensors alone, as safetensors stores them."""
        return {**self._average, STEPS: torch.tensor(self._steps)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what `state_dict` returned. Raises KeyError if it is of another module."""
        self._steps = int(state[STEPS])
        for name, average in self._average.items():
            average.copy_(state[name])

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self._trained.items():
            own = parameter.detach().clone()
            parameter.copy_(self._average[name])
            self._average[name].copy_(own)


class BestWeights:
    """The weights of the best evaluations so far, as files in a folder, STEP.safetensors each, and their mean."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, module: nn.Module, step: int) -> None:
        """Write the module's weights at a step."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(self._path(step)) as partial:
            safetensors.torch.save_model(module, str(partial))

    def delete_others(self, steps: Collection[int]) -> None:
        """Delete the weights of all other steps."""
        for path in self._folder.glob("*.safetensors"):
            if int(path.stem) not in steps:
                path.unlink()

    def kept(self, steps: Sequence[int]) -> tuple[int, ...]:
        """Those of the steps whose weights are there, and complete."""
        return tuple(step for step in steps if self._is_complete(step))

    @torch.no_grad()
    def mean_into(self, module: nn.Module, steps: Sequence[int]) -> None:
        """Load the mean of the weights of all these steps, computed in float64, into the module."""
        states = [safetensors.torch.load_file(str(self._path(step))) for step in steps]
        for name, own in module.state_dict().items():
            weights = [state[name].double() for state in states if name in state]
            if weights and own.is_floating_point():
                own.copy_(torch.stack(weights).mean(dim=0))

    def _is_complete(self, step: int) -> bool:
        try:
            with safe_open(str(self._path(step)), framework="pt"):
                return True
        except (OSError, SafetensorError):
            return False

    def _path(self, step: int) -> Path:
        return self._folder / f"{step}.safetensors"
