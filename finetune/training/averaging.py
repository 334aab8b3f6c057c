"""Averages of weights: an exponential moving average while training, and the mean of the best evaluations' weights.

The moving average covers trained parameters, the mean all floating-point tensors of a state dict.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

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

    def keep(self, module: nn.Module, step: int, best: Sequence[int]) -> None:
        """Write the module's weights if `step` is among the best steps, and delete weights that are of no such step."""
        if step in best:
            self._folder.mkdir(parents=True, exist_ok=True)
            partial = self._folder / f".{step}.partial"
            safetensors.torch.save_model(module, str(partial))
            partial.replace(self._path(step))
        for path in self._folder.glob("*.safetensors"):
            if int(path.stem) not in best:
                path.unlink()

    @torch.no_grad()
    def mean_into(self, module: nn.Module, best: Sequence[int]) -> None:
        """Load the mean of the weights of the best steps, computed in float64, into the module."""
        paths = [self._path(step) for step in best]
        states = [safetensors.torch.load_file(str(path)) for path in paths if path.exists()]
        for name, own in module.state_dict().items():
            weights = [state[name].double() for state in states if name in state]
            if weights and own.is_floating_point():
                own.copy_(torch.stack(weights).mean(dim=0))

    def _path(self, step: int) -> Path:
        return self._folder / f"{step}.safetensors"
