"""Loads a Whisper of any origin as openai-whisper's model; saves one in openai-whisper's and in transformers' form.

A reference is a size's name, an OpenAI .pt file, the folder of a run, a transformers folder or a Hub id. Both forms of
a saved model hold the same numbers, rounded to half precision as OpenAI publishes its own, so both transcribe alike.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch
import whisper
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from whisper.model import ModelDimensions, Whisper, sinusoids
from whisper.tokenizer import Tokenizer, get_tokenizer

from finetune.models.checkpoint_checks import CHECKPOINT, checked_loading
from preprocessing.errors import InputError, first_line
from preprocessing.storage.atomic_write import atomic_file, permit_readers
from preprocessing.storage.model_file import loading_reason

FULL_CONTEXT = 1500  # encoder frames of a released checkpoint: 30 s
N_VOCAB = (51_864, 51_865, 51_866)  # English-only, 99 languages, 100 languages
NO_LANGUAGES = 51_766  # tokens of a multilingual one besides those of its languages
NAMES = {  # of openai-whisper: of transformers
    "blocks": "layers",
    "attn": "self_attn",
    "attn_ln": "self_attn_layer_norm",
    "cross_attn": "encoder_attn",
    "cross_attn_ln": "encoder_attn_layer_norm",
    "query": "q_proj",
    "key": "k_proj",
    "value": "v_proj",
    "out": "out_proj",
    "mlp_ln": "final_layer_norm",
    "ln_post": "layer_norm",
    "ln": "layer_norm",
    "token_embedding": "embed_tokens",
    "positional_embedding": "embed_positions.weight",
}
RELEASED = {  # (encoder layers, decoder layers, decoder heads, vocabulary): the size with these
    (4, 4, 6, 51_864): "tiny.en",
    (4, 4, 6, 51_865): "tiny",
    (6, 6, 8, 51_864): "base.en",
    (6, 6, 8, 51_865): "base",
    (12, 12, 12, 51_864): "small.en",
    (12, 12, 12, 51_865): "small",
    (24, 24, 16, 51_864): "medium.en",
    (24, 24, 16, 51_865): "medium",
    (32, 32, 20, 51_865): "large-v2",
    (32, 32, 20, 51_866): "large-v3",
    (32, 4, 20, 51_866): "turbo",
}


def load_model(reference: str) -> Whisper:
    """A Whisper model in float32 on the CPU, from any reference; its alignment heads are those of the released size.

    Raises InputError where it cannot be loaded.
    """
    path = Path(reference)
    if is_transformers(reference) and not (path / CHECKPOINT).is_file():
        return _from_transformers(reference)
    try:
        with checked_loading(reference):
            model = whisper.load_model(str(path / CHECKPOINT if path.is_dir() else path), device="cpu").float()
    except (RuntimeError, OSError, KeyError, TypeError) as error:
        raise InputError(
            f"{reference}: cannot be loaded as a Whisper checkpoint ({first_line(error)}); expected "
            f"a size ({', '.join(whisper.available_models())}), a .pt file, a run's or transformers' folder or a Hub "
            "id: check name and network"
        ) from error
    dims = model.dims
    size = RELEASED.get((dims.n_audio_layer, dims.n_text_layer, dims.n_text_head, dims.n_vocab))
    if size is not None and reference not in whisper.available_models():
        model.set_alignment_heads(whisper._ALIGNMENT_HEADS[size])
    return model


def is_transformers(reference: str) -> bool:
    """Whether a reference is a folder of transformers, or can be a Hub id: neither a size nor another path."""
    return (Path(reference) / "config.json").is_file() or ("/" in reference and not Path(reference).exists())


def to_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of openai-whisper's encoder, decoder or both under the names of transformers' WhisperModel."""
    renamed = {}
    for key, value in state.items():
        parts = key.replace("mlp.0.", "fc1.").replace("mlp.2.", "fc2.").split(".")
        renamed[".".join(NAMES.get(part, part) for part in parts)] = value
    return renamed


def _from_transformers(reference: str) -> Whisper:
    from transformers import AutoConfig, WhisperConfig, WhisperForConditionalGeneration

    try:
        config = AutoConfig.from_pretrained(reference)
        if not isinstance(config, WhisperConfig):
            raise ValueError(f"its model_type is {config.model_type}, not whisper")
        if config.vocab_size not in N_VOCAB:
            raise ValueError(
                f"its vocabulary has {config.vocab_size} tokens, not one of {', '.join(map(str, N_VOCAB))}"
            )
        if {config.encoder_ffn_dim, config.decoder_ffn_dim} != {4 * config.d_model}:
            raise ValueError("its feed-forward layers are not four times as wide as its states")
        with checked_loading(reference):
            theirs = WhisperForConditionalGeneration.from_pretrained(reference, dtype=torch.float32)
    except (OSError, ValueError, RuntimeError, StrictDataclassError) as error:
        raise InputError(
            f"{reference}: cannot be loaded as a Whisper ({loading_reason(error)}); expected a size, a "
            ".pt file, a run's or transformers' folder or a Hub id: check the name and the network"
        ) from error
    dims = ModelDimensions(
        n_mels=config.num_mel_bins,
        n_audio_ctx=config.max_source_positions,
        n_audio_state=config.d_model,
        n_audio_head=config.encoder_attention_heads,
        n_audio_layer=config.encoder_layers,
        n_vocab=config.vocab_size,
        n_text_ctx=config.max_target_positions,
        n_text_state=config.d_model,
        n_text_head=config.decoder_attention_heads,
        n_text_layer=config.decoder_layers,
    )
    model = Whisper(dims)
    states = theirs.model.state_dict()
    model.load_state_dict({key: states[name] for key, name in zip(
        model.state_dict(), to_transformers(model.state_dict()), strict=True)})  # fmt: skip
    heads = getattr(theirs.generation_config, "alignment_heads", None)
    if heads:
        mask = torch.zeros(dims.n_text_layer, dims.n_text_head, dtype=torch.bool)
        mask[tuple(torch.tensor(heads).T)] = True
        model.register_buffer("alignment_heads", mask.to_sparse(), persistent=False)
    return model


def save(folder: Path, model: Whisper, state: Mapping[str, Tensor], language: str) -> None:
    """Writes a trained model as `whisper.load_model` reads it and as WhisperForConditionalGeneration and its processor
    do, each file whole or not at all.

    model: with dims and alignment heads; state: its weights under openai-whisper's names. language: that it was trained
    in, which both forms of decoding ask for by default in transformers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dims = replace(model.dims, n_audio_ctx=FULL_CONTEXT)
    weights = {name: weight.detach().cpu().half() for name, weight in state.items()}
    weights["encoder.positional_embedding"] = sinusoids(FULL_CONTEXT, dims.n_audio_state).half()
    with atomic_file(folder / CHECKPOINT) as temporary, temporary.open("wb") as file:
        torch.save({"dims": asdict(dims), "model_state_dict": weights}, file)
    if dims.n_vocab in N_VOCAB:
        _save_transformers(folder, model, dims, weights, language)


def _save_transformers(
    folder: Path, model: Whisper, dims: ModelDimensions, weights: Mapping[str, Tensor], language: str
) -> None:
    from transformers import GenerationConfig, WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    multilingual = model.is_multilingual
    tokens = get_tokenizer(multilingual, num_languages=model.num_languages, language=language, task="transcribe")
    special = {
        "decoder_start_token_id": tokens.sot,
        "bos_token_id": tokens.eot,
        "eos_token_id": tokens.eot,
        "pad_token_id": tokens.eot,
    }
    config = WhisperConfig(
        vocab_size=dims.n_vocab,
        num_mel_bins=dims.n_mels,
        d_model=dims.n_audio_state,
        encoder_layers=dims.n_audio_layer,
        encoder_attention_heads=dims.n_audio_head,
        encoder_ffn_dim=4 * dims.n_audio_state,
        decoder_layers=dims.n_text_layer,
        decoder_attention_heads=dims.n_text_head,
        decoder_ffn_dim=4 * dims.n_text_state,
        max_source_positions=dims.n_audio_ctx,
        max_target_positions=dims.n_text_ctx,
        **special,
    )
    state = {f"model.{name}": weight.float() for name, weight in to_transformers(weights).items()}
    state["proj_out.weight"] = state["model.decoder.embed_tokens.weight"]
    saved = WhisperForConditionalGeneration.from_pretrained(None, config=config, state_dict=state, dtype=torch.float32)
    saved.generation_config = GenerationConfig(
        **special,
        max_length=dims.n_text_ctx,
        num_beams=1,  # as in training's validation; a pipeline searches with five where nothing is said
        is_multilingual=multilingual,
        no_timestamps_token_id=tokens.no_timestamps,
        prev_sot_token_id=tokens.sot_prev,
        max_initial_timestamp_index=50,  # 1 s, as in openai-whisper's decoding
        return_timestamps=False,
        alignment_heads=model.alignment_heads.to_dense().nonzero().tolist(),
        suppress_tokens=suppressed_tokens(tokens),
        begin_suppress_tokens=[*tokens.encode(" "), tokens.eot],
        **_languages(tokens, language) if multilingual else {},
    )
    saved.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=dims.n_mels).save_pretrained(folder)
    tokenizer = _tokenizer(multilingual, tokens.num_languages)
    if multilingual:
        tokenizer.set_prefix_tokens(language=language, task="transcribe")
    tokenizer.save_pretrained(folder)
    permit_readers(folder)


def _languages(tokens: Tokenizer, language: str) -> dict[str, Any]:
    """What transformers' generation asks of a multilingual model."""
    return {
        "lang_to_id": _ids_of_languages(tokens),
        "task_to_id": _ids_of_tasks(tokens),
        "language": f"<|{language}|>",
        "task": "transcribe",
    }


def _ids_of_languages(tokens: Tokenizer) -> dict[str, int]:
    return {f"<|{code}|>": tokens.to_language_token(code) for code in tokens.all_language_codes}


def _ids_of_tasks(tokens: Tokenizer) -> dict[str, int]:
    return {"transcribe": tokens.transcribe, "translate": tokens.translate}


def complete_generation(model: Any) -> None:
    """Give transformers' multilingual Whisper what its generation needs to write in a language, where its
    generation_config.json is of a version that says nothing of languages, or missing.
    """
    generation, n_vocab = model.generation_config, model.config.vocab_size
    if hasattr(generation, "lang_to_id") or n_vocab not in N_VOCAB[1:]:
        return
    tokens = get_tokenizer(multilingual=True, num_languages=n_vocab - NO_LANGUAGES)
    generation.is_multilingual, generation.no_timestamps_token_id = True, tokens.no_timestamps
    generation.lang_to_id, generation.task_to_id = _ids_of_languages(tokens), _ids_of_tasks(tokens)


def suppressed_tokens(tokens: Tokenizer) -> list[int]:
    """Ids that openai-whisper's decoding never gives, by its default suppress_tokens of -1."""
    never = (tokens.transcribe, tokens.translate, tokens.sot, tokens.sot_prev, tokens.sot_lm, tokens.no_speech)
    return sorted({*tokens.non_speech_tokens, *never})


@lru_cache(maxsize=1)
def _tokenizer(multilingual: bool, num_languages: int) -> Any:
    """openai-whisper's tokenizer as transformers' WhisperTokenizer."""
    from transformers import AddedToken, WhisperTokenizer
    from transformers.convert_slow_tokenizer import TikTokenConverter

    name = "multilingual" if multilingual else "gpt2"
    with as_file(files(whisper) / "assets" / f"{name}.tiktoken") as path:
        vocabulary, merges = TikTokenConverter().extract_vocab_merges_from_model(str(path))
    special = sorted(
        get_tokenizer(multilingual, num_languages=num_languages).special_tokens.items(), key=lambda t: t[1]
    )
    end = special[0][0]
    tokenizer = WhisperTokenizer(vocab=vocabulary | {end: special[0][1]}, merges=merges, pad_token=end)
    named = [AddedToken(name, normalized=False, special=True) for name, _ in special[1:] if "." not in name]
    times = [AddedToken(name, normalized=False, special=False) for name, _ in special if "." in name]
    tokenizer.add_tokens([*named, *times])
    return tokenizer
