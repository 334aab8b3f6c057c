"""A Whisper of random weights with the tokens of a real one, for tests of what stands around a model."""

from pathlib import Path

import torch

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
