"""Dropout that costs a fraction on a CPU: four draws from each 64 random bits instead of one.

torch's own draws a number for each element, which took a tenth of wav2vec2-base's update there. On other devices, and
where nothing is dropped, this is nn.Dropout. Inside attention torch draws itself.
"""

import torch
from torch import Tensor, nn

STEPS = 2**16  # of a 16-bit draw; a probability is met to half a step


class BitDropout(nn.Dropout):
    """nn.Dropout from 16-bit draws of torch's generator, so that a resumed run draws the same."""

    def forward(self, hidden: Tensor) -> Tensor:
        """Any shape. Each element is 0 with probability p, else divided by the probability of being kept."""
        dropped = round(self.p * STEPS)
        if not self.training or dropped in (0, STEPS) or hidden.device.type != "cpu":
            return super().forward(hidden)
        draws = torch.empty(-(-hidden.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        kept = draws.view(torch.int16)[: hidden.numel()].view(hidden.shape) >= dropped - STEPS // 2
        return hidden * kept.to(hidden.dtype).mul_(STEPS / (STEPS - dropped))


def draw_cheaply(model: nn.Module) -> None:
    """Let every nn.Dropout of a model draw so."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, BitDropout(child.p))
