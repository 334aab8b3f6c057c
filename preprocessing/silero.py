"""Silero VAD 6 (Silero Team, https://github.com/snakers4/silero-vad): the probability of speech in each 32 ms.

The weights are those of the TorchScript archive in the silero-vad wheel. The layers are laid out here so that all
windows go through the convolutions at once, then through one LSTM call: the archive's probabilities, much faster than
window by window. The package itself is never imported, as that sets torch to one thread for the whole process. CPU
only.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from preprocessing.errors import InputError

WINDOW = 512  # samples that one probability speaks of: 32 ms
CONTEXT = 64  # samples before a window that the network sees as well
BLOCK_WINDOWS = 2_048  # through the convolutions at once, about a minute: memory does not grow with the recording
ARCHIVE_NAMES = {
    "stft.forward_basis_buffer": "stft_conv.weight",
    **{f"encoder.{n}.reparam_conv.{part}": f"conv{n + 1}.{part}" for n in range(4) for part in ("weight", "bias")},
    **{f"decoder.rnn.{part}": f"lstm.{part}_l0" for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")},
    "decoder.decoder.2.weight": "final_conv.weight",
    "decoder.decoder.2.bias": "final_conv.bias",
}


class SileroVad(nn.Module):
    """Speech probability of each window of 512 samples, the last one filled up with zeros; 16 kHz only."""

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 258, 256, stride=128, bias=False)
        self.conv1 = nn.Conv1d(129, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, 128, 3, padding=1)
        self.lstm = nn.LSTM(128, 128, batch_first=True)
        self.final_conv = nn.Conv1d(128, 1, 1)

    @classmethod
    def pretrained(cls) -> "SileroVad":
        """With the weights of the installed silero-vad. Raises InputError where it is missing."""
        archive = torch.jit.load(silero_archive(), map_location="cpu")  # type: ignore[no-untyped-call]
        weights = archive._model.state_dict()  # the 16 kHz one of two
        network = cls()
        network.load_state_dict({ours: weights[theirs] for theirs, ours in ARCHIVE_NAMES.items()})
        return network.eval()

    @torch.inference_mode()
    def forward(self, waveform: Tensor) -> Tensor:
        """waveform: [samples]. Returns [windows] in float32."""
        n_windows = -(-waveform.numel() // WINDOW)
        padded = functional.pad(waveform, (CONTEXT, n_windows * WINDOW - waveform.numel()))
        windows = padded.unfold(0, WINDOW + CONTEXT, WINDOW)
        probabilities, state = [waveform.new_zeros(0)], None
        with _one_thread():
            for first in range(0, n_windows, BLOCK_WINDOWS):
                hidden, state = self.lstm(self._encode(windows[first : first + BLOCK_WINDOWS])[None], state)
                probabilities.append(self.final_conv(hidden[0, :, :, None].relu()).sigmoid().flatten())
        return torch.cat(probabilities)

    def _encode(self, windows: Tensor) -> Tensor:
        """Windows with their context [windows, samples] -> [windows, 128]."""
        spectrum = self.stft_conv(functional.pad(windows, (0, 64), mode="reflect")[:, None])
        magnitude = (spectrum[:, :129].square() + spectrum[:, 129:].square()).sqrt()
        hidden = self.conv2(self.conv1(magnitude).relu()).relu()
        encoded: Tensor = self.conv4(self.conv3(hidden).relu()).relu()
        return encoded.squeeze(-1)


@contextmanager
def _one_thread() -> Iterator[None]:
    """The steps of the recurrence are too small to share: on a busy machine two threads are ten times slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def silero_archive() -> Path:
    """Where the silero-vad wheel's TorchScript lies. Raises InputError where it is not installed."""
    package = find_spec("silero_vad")  # found, not imported
    if package is None or package.origin is None:
        raise InputError("silero-vad is not installed; expected it for voice activity: pip install silero-vad")
    path = Path(package.origin).parent / "data" / "silero_vad.jit"
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected silero-vad 6.2 or newer: upgrade it")
    return path


@lru_cache(maxsize=1)
def silero() -> SileroVad:
    """The network, read once."""
    return SileroVad.pretrained()
