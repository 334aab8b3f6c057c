"""Every system is given the same waveforms: as they are, or after noise removal where the run asks for it."""

import torch

from benchmark.measure import loader
from benchmark.systems.base import LoadOptions
from preprocessing import audio
from preprocessing.corpus import open_corpus
from preprocessing.denoise import SpectralGate
from tests.conftest import DEMO


def test_waveforms_are_denoised_only_where_asked() -> None:
    utterance = open_corpus(str(DEMO / "corpus" / "test.jsonl"), limit=1).utterances[0]
    plain = audio.load(utterance.audio)
    assert torch.equal(loader(LoadOptions("cpu", None))(utterance), plain)
    assert torch.equal(loader(LoadOptions("cpu", None, denoise=True))(utterance), SpectralGate()(plain))
