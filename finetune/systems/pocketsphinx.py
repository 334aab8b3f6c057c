"""PocketSphinx: hidden Markov models of phones, a trigram of words, a pronouncing dictionary; no neural network.

It was trained by others, and its English model is in the package: a rival that needs no network. Source: Huggins-Daines
et al. 2006, "PocketSphinx: a free, real-time continuous speech recognition system for hand-held devices".
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from finetune.systems.base import LoadOptions, System, SystemSpec
from preprocessing.audio import PCM_STEPS, SAMPLE_RATE
from preprocessing.errors import InputError, install_extra

BLOCK_SECONDS = 30.0  # of a longer recording: the decoder's lattice grows with the audio


class PocketSphinxSystem(System):
    """The decoder at its defaults, one utterance at a time; one over BLOCK_SECONDS in blocks cut in its pauses."""

    batched = False

    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        try:
            import pocketsphinx
        except ImportError:
            raise InputError(
                f"{spec.name}: the package pocketsphinx is not installed; expected it for this system: "
                + install_extra("rivals")
            ) from None
        if options.language not in (None, "en"):
            raise InputError(
                f"{spec.name}: its model is English only, and --language is {options.language}; expected en: leave the "
                "system out"
            )
        self._decoder = pocketsphinx.Decoder(samprate=float(SAMPLE_RATE), loglevel="FATAL")
        config = self._decoder.config
        self.facts = spec.facts(
            parameters=0,
            settings={
                "decoding": "the decoder's defaults, best path of the lattice",
                "acoustic model": _name(config["hmm"]),
                "language model": _name(config["lm"]),
                "dictionary": _name(config["dict"]),
                "precision": "fixed point and float32, on the CPU",
                "long recordings": f"in blocks of up to {BLOCK_SECONDS:g} s, cut where the second half is quietest",
            },
        )

    def features(self, waveforms: Sequence[Tensor]) -> list[bytes]:
        """The 16-bit samples of each block."""
        (waveform,) = waveforms
        return [_pcm(block) for block in blocks(waveform)]

    def forward(self, features: Any) -> list[str]:
        """The best hypothesis of each block."""
        return [self._transcribe(block) for block in features]

    def text(self, outcome: Any) -> list[str]:
        """The hypotheses of the blocks, joined by blanks."""
        return [" ".join(text for text in outcome if text)]

    def _transcribe(self, block: bytes) -> str:
        self._decoder.start_utt()
        self._decoder.process_raw(block, no_search=False, full_utt=True)
        self._decoder.end_utt()
        best = self._decoder.hyp()
        return "" if best is None else str(best.hypstr)


def blocks(waveform: Tensor) -> list[Tensor]:
    """The waveform [samples] in blocks of up to BLOCK_SECONDS, each cut in the quietest tenth of a second of its second
    half. Every sample is in one block; an empty waveform has none.
    """
    longest, frame = round(BLOCK_SECONDS * SAMPLE_RATE), SAMPLE_RATE // 10
    found = []
    while len(waveform) > longest:
        second_half = waveform[longest // 2 : longest].unfold(0, frame, frame)
        cut = longest // 2 + int(second_half.square().sum(dim=1).argmin()) * frame + frame // 2
        found.append(waveform[:cut])
        waveform = waveform[cut:]
    return [*found, waveform] if len(waveform) else found


def _pcm(waveform: Tensor) -> bytes:
    """Exact: a waveform's values lie on the 16-bit grid."""
    samples: bytes = (waveform * PCM_STEPS).to(torch.int16).numpy().tobytes()
    return samples


def _name(path: str | None) -> str:
    return "none" if path is None else Path(path).name
