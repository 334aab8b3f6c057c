"""Averages of weights: an exponential one while training, and the mean of the best evaluations' weights at its end.

Both average floating-point parameters; buffers and frozen parameters are the module's own.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

UPDATES = "updates"  # beside the names of parameters, which have a dot in them

Ranked: TypeAlias = tuple[float, float, int]


class MovingAverage:
    """Exponential moving average of what is trained: decay * average + (1 - decay) * weights after each update.

    decay: 0.999 remembers about the last thousand updates. Early on it is lowered to (1 + updates) / (10 + updates), so
    that the first random weights are soon forgotten.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        self._updates = 0
        self._trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self._average = {name: p.detach().clone() for name, p in self._trained.items()}

    @torch.no_grad()
    def update(self) -> None:
        """After an optimiser step."""
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        blend = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        blend(list(self._average.values()), list(self._trained.values()), self._updates)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """The module computes with the average, to be evaluated and saved; its own weights come back afterwards."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors alone, as a checkpoint holds them."""
        return {**self._average, UPDATES: torch.tensor(self._updates)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Raises KeyError when the state is of another module."""
        self._updates = int(state[UPDATES])
        for name, average in self._average.items():
            average.copy_(state[name])

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self._trained.items():
            own = parameter.detach().clone()
            parameter.copy_(self._average[name])
            self._average[name].copy_(own)


class BestWeights:
    """The weights of the best evaluations so far, in files, and their mean.

    folder: holds UPDATE.safetensors of each. A ranking is (WER, CER, update), the best first.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, module: nn.Module, update: int, ranking: Sequence[Ranked]) -> None:
        """Keep the module's weights if `update` is in the ranking, and none that is not."""
        kept = {ranked[2] for ranked in ranking}
        if update in kept:
            self._folder.mkdir(parents=True, exist_ok=True)
            beside = self._folder / f".{update}.partial"
            safetensors.torch.save_model(module, str(beside))
            beside.replace(self._path(update))
        for path in self._folder.glob("*.safetensors"):
            if int(path.stem) not in kept:
                path.unlink()

    @torch.no_grad()
    def mean_into(self, module: nn.Module, ranking: Sequence[Ranked]) -> None:
        """Put the mean of the ranking's weights into the module, summed in double precision."""
        paths = [self._path(ranked[2]) for ranked in ranking]
        states = [safetensors.torch.load_file(str(path)) for path in paths if path.exists()]
        for name, own in module.state_dict().items():
            found = [state[name] for state in states if name in state]
            if found and own.is_floating_point():
                own.copy_(torch.stack([weight.double() for weight in found]).mean(dim=0))

    def _path(self, update: int) -> Path:
        return self._folder / f"{update}.safetensors"
