"""What each family of models has, as far as options depend on it: a record for each, and nothing that imports torch.

`ModelConfig` and `TrainConfig` refuse by it what a family lacks; precision and sharding are chosen by it. How a family
computes is in its module `finetune/models/NAME.py`.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainableFamily:
    """What one family has.

    base: what --model.base names, with the remedy where it names something else. owners: on the Hub, whose speech
    models are of this family, or of others that name the same owner. base_is_run: whether every base is a run's folder.
    is_new_by_default: whether a model without base and scratch is a new one.
    keys: of ModelConfig and TrainConfig that this family has and some other lacks.
    language: what --model.language chooses, if anything: a token, or the adapter of an MMS model.
    has_own_tokens: whether output units are the base's tokens, whatever the labels hold.
    has_output_layer: whether a layer of its own follows the encoder, which can be trained alone.
    has_latent_masks: whether masks are wav2vec 2.0's, of latent frames; of log-mel features otherwise.
    has_dropout: whether layers besides LoRA's input have dropout.
    has_lora_in_trained_layers: whether lora_rank and trained_layers go together.
    is_recurrent: whether it computes by an LSTM, which has kernels and limits of its own.
    is_sharded: whether FSDP can shard it.
    """

    base: str
    owners: tuple[str, ...] = ()
    base_is_run: bool = False
    is_new_by_default: bool = False
    keys: frozenset[str] = frozenset()
    language: Literal["token", "adapter"] | None = None
    has_own_tokens: bool = False
    has_output_layer: bool = True
    has_latent_masks: bool = False
    has_dropout: bool = True
    has_lora_in_trained_layers: bool = False
    is_recurrent: bool = False
    is_sharded: bool = False


A_WHISPER = "a Whisper, such as the size base: name one"
FAMILIES = {
    "wav2vec2": TrainableFamily(
        base="a CTC model of transformers, such as facebook/wav2vec2-base-960h: name one",
        owners=("facebook",),
        keys=frozenset(
            (
                *("adapters_only", "lora_rank", "attn_implementation", "attention_dropout"),
                *("gradient_checkpointing", "torch_compile"),
            )
        ),
        language="adapter",
        has_latent_masks=True,
        is_sharded=True,
    ),
    "whisper": TrainableFamily(
        base=A_WHISPER,
        owners=("openai",),
        keys=frozenset(
            (
                *("trained_layers", "feature_cache", "lora_rank", "gradient_checkpointing"),
                *("timestamp_share", "label_smoothing_factor", "context_seconds"),
            )
        ),
        language="token",
        has_own_tokens=True,
        has_output_layer=False,
        has_dropout=False,
        has_lora_in_trained_layers=True,
        is_sharded=True,
    ),
    "whisper-ctc": TrainableFamily(
        base=A_WHISPER,
        owners=("openai",),
        keys=frozenset(("trained_layers", "feature_cache", "lora_rank", "gradient_checkpointing", "head")),
    ),
    "lstm": TrainableFamily(
        base="a run of this family, to train it further: leave --model.base out to train a new model",
        base_is_run=True,
        is_new_by_default=True,
        is_recurrent=True,
    ),
}
OWN_KEYS = frozenset[str]().union(*(family.keys for family in FAMILIES.values()))  # which some family lacks


def families_with(key: str) -> str:
    """The names of the families that have a key, for a message.

    >>> families_with("feature_cache")
    'whisper or whisper-ctc'
    """
    return " or ".join(name for name, family in FAMILIES.items() if key in family.keys)
