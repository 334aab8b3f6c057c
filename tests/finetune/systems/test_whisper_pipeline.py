"""transformers' pipeline of a Whisper of random weights: batches, long recordings, and its language."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from whisper.tokenizer import get_tokenizer

from finetune.models.whisper_formats import complete_generation
from preprocessing.errors import InputError
from tests.finetune.systems.tiny_whisper import heard, load, noise


def test_the_pipeline_of_a_model_that_generates(tiny: Path) -> None:
    """Random weights write anything; what is tested is that batches come back whole and empty ones empty."""
    system = load("pipeline", tiny)
    found = heard(system, [noise(1, 0), torch.zeros(0), noise(2, 1)])
    assert len(found) == 3 and found[1] == ""
    assert found[::2] == heard(system, [noise(1, 0)]) + heard(system, [noise(2, 1)])
    assert system.facts.parameters > 0


def test_a_pipelines_transcript_is_the_benchmarks_in_one_language(tiny: Path) -> None:
    """Over a window too: whole, in the language of its first window or in the one that holds for a while."""
    system = load("pipeline", tiny, language=None)
    assert system.longest_piece_seconds > 45
    waveforms = [noise(3, 3), noise(2, 0)]
    detected = [transcript.language for transcript in system.transcribe(waveforms)]
    assert detected == [system.transcribe([one])[0].language for one in waveforms]
    (long,) = system.transcribe([noise(45, 3)])
    assert [long.text] == heard(system, [noise(45, 3)]) and long.language in ("en", "de")
    times = [time for segment in long.segments for time in (segment.start, segment.end)]
    assert times and times == sorted(times) and times[0] >= 0.0 and times[-1] <= 45.0
    for language in ("en", "de"):
        told = load("pipeline", tiny, language)
        assert told.facts.settings["language"] == language
        with system.in_language(language):
            assert [one.language for one in system.transcribe(waveforms)] == [language] * 2
            assert heard(system, waveforms) == heard(told, waveforms)
        with told.in_language("en"):
            assert told.transcribe(waveforms[:1])[0].language == language
    assert [one.language for one in system.transcribe(waveforms)] == detected
    with pytest.raises(InputError, match="the language is 'fr'; expected the code of one of the 2 languages"):
        load("pipeline", tiny, "fr")


def test_a_pipeline_says_the_language_of_a_fine_tuned_whisper(tiny: Path, tmp_path: Path) -> None:
    """Which its generation_config.json makes it write."""
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    generation = json.loads((folder / "generation_config.json").read_text()) | {"language": "<|de|>"}
    (folder / "generation_config.json").write_text(json.dumps(generation))
    system = load("pipeline", folder, language=None)
    assert system.facts.settings["language"] == "de"
    assert system.transcribe([noise(2, 0)])[0].language == "de"


def test_a_pipeline_says_the_language_that_forced_decoder_ids_have(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    generation = json.loads((folder / "generation_config.json").read_text())
    generation["forced_decoder_ids"] = [
        [1, generation["lang_to_id"]["<|de|>"]],
        [2, generation["task_to_id"]["transcribe"]],
    ]
    (folder / "generation_config.json").write_text(json.dumps(generation))
    system = load("pipeline", folder, language=None)
    assert system.facts.settings["language"] == "de"
    assert system.transcribe([noise(2, 0)])[0].language == "de"
    assert load("pipeline", folder, language="en").facts.settings["language"] == "en"


@pytest.mark.parametrize("n_vocab", [51_864, 51_865, 51_866])
def test_a_whisper_of_an_old_version_is_told_its_languages(n_vocab: int) -> None:
    """Without which transformers refuses `language`: that of each id as openai-whisper has it."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    heads = {"encoder_attention_heads": 1, "decoder_attention_heads": 1}
    sizes = {"d_model": 4, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 2, "decoder_ffn_dim": 2}
    model = WhisperForConditionalGeneration(WhisperConfig(vocab_size=n_vocab, **sizes, **heads))
    complete_generation(model)
    generation = model.generation_config
    if n_vocab == 51_864:  # English-only
        assert not hasattr(generation, "lang_to_id")
        return
    tokens = get_tokenizer(True, num_languages=n_vocab - 51_766)
    assert generation.is_multilingual
    assert generation.lang_to_id == {f"<|{one}|>": tokens.to_language_token(one) for one in tokens.all_language_codes}
    assert generation.task_to_id == {"transcribe": tokens.transcribe, "translate": tokens.translate}
    assert generation.no_timestamps_token_id == tokens.no_timestamps
