"""A run's folder as training leaves it, around a tiny model with random weights, and a tiny language model."""

import json
from pathlib import Path

from finetune import models
from finetune.config import DataConfig, ModelConfig, TrainConfig
from finetune.language_model.kneser_ney import estimate
from finetune.language_model.ngram import write_arpa
from finetune.models import about
from finetune.training.evaluation import ValidationSample, write_transcripts
from finetune.training.log import BEST
from finetune.training.run_folder import RunWriter
from preprocessing.corpus import Reject, Utterance
from preprocessing.text import profile

PRIVATE = "/home/somebody/secret"  # a folder that no published file may name
TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
TINY_WHISPER = {
    "n_mels": 80,
    "n_vocab": 51864,
    "n_audio_ctx": 1500,
    "n_audio_state": 8,
    "n_audio_head": 2,
    "n_audio_layer": 1,
    "n_text_ctx": 448,
    "n_text_state": 8,
    "n_text_head": 2,
    "n_text_layer": 1,
}
PAIRS = [("TURN ON THE LIGHT", "TURN ON THE LIGHT"), ("STOP", "STOP IT"), ("GO HOME", "GO"), ("YES", "NO")] * 3


def tiny_run(folder: Path, family: str = "wav2vec2", *, language: str | None = "en", corpus: str = "train") -> Path:
    """A finished run of 20 updates over 12 validation utterances by six people."""
    config = TrainConfig(
        output_dir=folder,
        model=ModelConfig(family=family, scratch=TINY if family == "wav2vec2" else TINY_WHISPER),  # type: ignore[arg-type]
        data=DataConfig(train=[f"{PRIVATE}/{corpus}.jsonl"], validation_share=0.1, profile="librispeech"),
        max_steps=20,
        hub_license="cc-by-4.0",
    )
    recogniser = models.build(config.model, [reference for reference, _ in PAIRS], config.seed)
    recogniser.save(folder, recogniser.module)
    utterances = [
        Utterance(f"u{number:02}", f"{PRIVATE}/{number}.wav", text, 3.0, speaker=f"s{number % 6}", language=language)
        for number, (text, _) in enumerate(PAIRS)
    ]
    made_of = about.describe(
        config, parameters=12_345, training=utterances * 10, validation=utterances, text_profile=profile("librispeech")
    )
    writer = RunWriter(folder)
    writer.begin(config, made_of, [Reject(f"{PRIVATE}/bad.wav", "no such file")], step=0)
    for step, rate in ((0, 1.0), (10, 0.4), (20, 0.5)):
        writer.log(kind="validation", step=step, loss=1.0, wer=rate, cer=rate)
        if step < 20:
            writer.log(kind=BEST, step=step, steps=[step], metric="wer", wer=rate, cer=rate)
    writer.log(kind="train", step=20, loss=1.0)
    writer.draw_curve()
    transcripts = [ValidationSample(u.id, *pair, 0.5, u.speaker) for u, pair in zip(utterances, PAIRS, strict=True)]
    write_transcripts(folder / "samples.jsonl", transcripts)
    (folder / "checkpoints" / "step-00000020").mkdir(parents=True)
    (folder / "checkpoints" / "step-00000020" / "weights.safetensors").write_bytes(b"not for others")
    (folder / "tensorboard").mkdir()
    (folder / "tensorboard" / "events.out").write_text(json.dumps(PRIVATE))
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, by its path in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def arpa(path: Path, sentences: list[list[str]], order: int = 2) -> Path:
    """The path, to which an n-gram language model of the sentences is written."""
    with path.open("w", encoding="utf-8") as file:
        write_arpa(estimate(sentences, order), file)
    return path
