"""Whispers of random weights, for tests of what stands around a model: with the tokens of a real one in transformers'
form, or in openai-whisper's; and how tests of systems call them.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
import whisper
from torch import Tensor

from finetune.systems.base import LoadOptions, System, SystemSpec
from finetune.systems.facts import SystemOptions
from finetune.systems.registry import load_system
from finetune.systems.transcript import MAX_SEGMENT_CHARACTERS, MAX_SEGMENT_SECONDS, Transcript
from preprocessing.audio import SAMPLE_RATE

LANGUAGES = ("en", "de")
SPECIAL = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    *(f"<|{language}|>" for language in LANGUAGES),
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)
TIMESTAMPS = tuple(f"<|{step * 0.02:.2f}|>" for step in range(1501))


def save_tiny_whisper(folder: Path) -> None:
    """In transformers' form: one layer each way, the 256 bytes for words, and Whisper's own tokens in its order."""
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperTokenizer,
    )
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    vocabulary = {token: place for place, token in enumerate((*bytes_to_unicode().values(), *SPECIAL, *TIMESTAMPS))}
    end = vocabulary["<|endoftext|>"]
    ids = {"decoder_start_token_id": end + 1, "eos_token_id": end, "bos_token_id": end, "pad_token_id": end}
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WhisperForConditionalGeneration(WhisperConfig(**sizes, **heads, **ids, vocab_size=len(vocabulary)))
    model.generation_config = GenerationConfig(
        **ids,
        max_length=12,
        is_multilingual=True,
        lang_to_id={f"<|{language}|>": vocabulary[f"<|{language}|>"] for language in LANGUAGES},
        task_to_id={task: vocabulary[f"<|{task}|>"] for task in ("translate", "transcribe")},
        no_timestamps_token_id=vocabulary["<|notimestamps|>"],
        prev_sot_token_id=vocabulary["<|startofprev|>"],
        alignment_heads=[[0, 0]],
        suppress_tokens=[],
        begin_suppress_tokens=[end],
    )
    model.save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    tokenizer = WhisperTokenizer(vocab=vocabulary, merges=[], pad_token="<|endoftext|>")
    tokenizer.add_tokens([*SPECIAL[1:], *TIMESTAMPS], special_tokens=True)
    tokenizer.save_pretrained(folder)


def load(family: str, checkpoint: Path, language: str | None = "en", **options: object) -> System:
    given = LoadOptions("cpu", language, system=SystemOptions(**options))  # type: ignore[arg-type]
    return load_system(SystemSpec(family, family, str(checkpoint)), given)


def heard(system: System, waveforms: Sequence[Tensor]) -> list[str]:
    return system.text(system.forward(system.features(waveforms)))


def noise(seconds: float, seed: int) -> Tensor:
    """[samples], louder with each seed."""
    generator = torch.Generator().manual_seed(seed)
    return 0.02 * (1 + seed) * torch.randn(round(seconds * SAMPLE_RATE), generator=generator)


def save_openai(path: Path, n_vocab: int, std: float = 2.0) -> Path:
    dims = whisper.ModelDimensions(
        n_mels=80,
        n_audio_ctx=1_500,
        n_audio_state=16,
        n_audio_head=2,
        n_audio_layer=1,
        n_vocab=n_vocab,
        n_text_ctx=16,
        n_text_state=16,
        n_text_head=2,
        n_text_layer=1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = whisper.model.Whisper(dims)
        for parameter in model.parameters():  # large enough that another sound makes another token the likeliest
            torch.nn.init.normal_(parameter, std=std)
    torch.save({"dims": dims.__dict__, "model_state_dict": model.state_dict()}, path)
    return path


def assert_fitted(transcript: Transcript) -> None:
    """Segments in order that fit subtitles, or have one word."""
    assert len(transcript.segments) > 1
    assert all(before.end <= max(before.start, after.start) for before, after in pairwise(transcript.segments))
    for segment in transcript.segments:
        fits = (
            segment.end - segment.start <= MAX_SEGMENT_SECONDS and len(segment.text.strip()) <= MAX_SEGMENT_CHARACTERS
        )
        assert fits or (segment.words and len(segment.words) == 1)
