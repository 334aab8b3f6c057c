"""What is looked at before a checkpoint is loaded: how large its config.json says the model is, and what a refused
pickle means.

Building a model takes time and memory by its configuration, whatever its weights hold: a configuration of 10^9 layers
would be built for ever. Every loader of a folder, a file or a Hub id of the project goes through `checked_loading`.
"""

import json
import os
import pickle
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from preprocessing.errors import InputError, UsageError
from preprocessing.storage.model_file import find_model_file

CHECKPOINT = "whisper.pt"  # of openai-whisper, in the folder of a run
ADAPTER = "adapter_config.json"  # of peft
LAYER_KEYS = {  # number of layers: size of their feed-forward part
    "encoder_layers": "encoder_ffn_dim",
    "decoder_layers": "decoder_ffn_dim",
    "num_layers": "intermediate_size",
    "num_hidden_layers": "intermediate_size",
    "num_adapter_layers": "intermediate_size",
}
TABLE_KEYS = ("vocab_size", "max_source_positions", "max_target_positions")  # tables with a row for each
LEAST_WIDTH = 16  # of a state, where a configuration does not say
FLOAT32_BYTES = 4
MORE_THAN_STORED = 2.0  # times the numbers in the weights: less may be an output layer that they leave out
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")


@contextmanager
def checked_loading(reference: str) -> Iterator[None]:
    """Check what a checkpoint announces, then run the block that loads it.

    reference: a folder, a .pt file of openai-whisper, a Hub id, or the name of a released size, which is not checked.
    Raises InputError where the configuration announces more than the weights hold or the memory takes (`check_size`),
    and where the block is refused a pickle.
    """
    try:
        config, where = _configuration(reference)
        if config:
            check_size(config, where, n_stored=_n_stored(Path(reference)))
        yield
    except Exception as error:
        refusal = _refusal(error)
        if refusal is None:
            raise
        found = _GLOBAL.search(refusal)
        what = f"{found[1]}, which could run code" if found else "more than tensors"
        raise InputError(
            f"{reference}: its weights are a pickle that contains {what}, so it was not opened; expected tensors only: "
            "ask its author to save it as model.safetensors (model.save_pretrained(folder), or "
            "safetensors.torch.save_file(model.state_dict(), 'model.safetensors'))"
        ) from None


def _refusal(error: BaseException | None) -> str | None:
    """Torch's message on a pickle that it does not open, perhaps behind a library's own error; None without one."""
    while error is not None:
        if isinstance(error, pickle.UnpicklingError) or "Weights only load failed" in str(error):
            return str(error)
        error = error.__cause__ or error.__context__
    return None


def check_no_adapter(reference: str) -> None:
    """Raises InputError where a folder or Hub repository has an adapter of peft without the model that it changes."""
    found = find_model_file(reference, ADAPTER)
    if found is None or any(find_model_file(reference, name) for name in ("config.json", CHECKPOINT)):
        return
    try:
        config = json.loads(found.read_text(encoding="utf-8"))
        base, kind = config.get("base_model_name_or_path"), config.get("peft_type")
    except (OSError, ValueError, AttributeError):
        base = kind = None
    base, kind = base or "its base", "a LoRA" if kind in ("LORA", None) else f"peft's {kind}"
    raise InputError(
        f"{reference}: is {kind} adapter for {base}, not a model; expected both in one: merge it first with "
        f"PeftModel.from_pretrained(base, {reference!r}).merge_and_unload().save_pretrained(out), save the processor "
        "beside it, and name out"
    )


def check_size(config: Mapping[str, Any], where: str, *, n_stored: int | None = None) -> None:
    """Raises InputError where the model that a configuration announces is larger than what is there.

    config: of transformers. where: what the message calls it. n_stored: numbers in its weights; None where they are not
    at hand.
    """
    n_parameters, n_layers = announced_parameters(config), announced_layers(config)
    announced = f"{where}: announces {n_layers:,} layers with {_shown(n_parameters)} parameters or more"
    if n_stored is not None and n_parameters > MORE_THAN_STORED * n_stored:
        raise InputError(
            f"{announced}, its weights contain {_shown(n_stored)}; expected a configuration that fits the weights: "
            "download both again"
        )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if n_parameters * FLOAT32_BYTES > memory:
        raise InputError(
            f"{announced}, {n_parameters * FLOAT32_BYTES / 1e9:,.0f} GB in float32, and this machine has "
            f"{memory / 1e9:,.0f} GB of memory; expected a model that fits: choose a smaller one"
        )


def check_scratch(settings: Mapping[str, Any], flag: str) -> None:
    """`check_size` of a model with random weights. Raises UsageError naming the option `flag`."""
    try:
        check_size(settings, flag)
    except InputError as error:
        raise UsageError(str(error)) from None


def sizes_of_dims(dims: Mapping[str, Any]) -> dict[str, Any]:
    """openai-whisper's ModelDimensions under the names of a configuration of transformers."""
    width = dims.get("n_audio_state")
    inner = 4 * _whole(width)
    return {
        "d_model": width,
        "encoder_layers": dims.get("n_audio_layer"),
        "decoder_layers": dims.get("n_text_layer"),
        "encoder_ffn_dim": inner,
        "decoder_ffn_dim": inner,
        "vocab_size": dims.get("n_vocab"),
        "max_source_positions": dims.get("n_audio_ctx"),
        "max_target_positions": dims.get("n_text_ctx"),
    }


def announced_layers(config: Mapping[str, Any]) -> int:
    """Layers of all kinds that a configuration of transformers announces, nested configurations included."""
    return sum(count for count, _, _ in _layers(config))


def announced_parameters(config: Mapping[str, Any]) -> int:
    """A lower bound of the parameters of the model that a configuration of transformers announces.

    Counted are two square matrices and a feed-forward part in each layer, embeddings, and convolutions. What is no
    whole number is left to transformers to refuse.

    >>> announced_parameters({"hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 3072, "vocab_size": 32})
    70803456
    """
    total = sum(count * (2 * width * width + 2 * width * inner) for count, width, inner in _layers(config))
    for one in _configurations(config):
        width = _width(one)
        total += sum(_count(one, key) * width for key in TABLE_KEYS)
        channels = one.get("conv_dim")
        if isinstance(channels, list | tuple):
            sizes = [_whole(size) for size in channels]
            total += sum(before * after for before, after in zip([1, *sizes], sizes, strict=False))
        groups = max(_count(one, "num_conv_pos_embedding_groups"), 1)
        total += _count(one, "num_conv_pos_embeddings") * width * width // groups
    return total


def _layers(config: Mapping[str, Any]) -> Iterator[tuple[int, int, int]]:
    """Number of layers, width of their state and of their feed-forward part, of each kind."""
    for one in _configurations(config):
        keys = [key for key in LAYER_KEYS if _count(one, key)]
        if one.get("add_adapter") is not True:
            keys = [key for key in keys if key != "num_adapter_layers"]  # wav2vec 2.0 states them without having them
        if {"encoder_layers", "decoder_layers"} & {*keys}:
            keys = [key for key in keys if key != "num_hidden_layers"]  # Whisper states its encoder's layers twice
        for key in keys:
            yield _count(one, key), _width(one), _count(one, LAYER_KEYS[key])


def _configurations(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A configuration and those of the parts of a composed model, such as `text_config`."""
    parts = [part for key, part in config.items() if isinstance(part, Mapping) and key.endswith(("config", "coder"))]
    return [config, *parts]


def _width(config: Mapping[str, Any]) -> int:
    return _count(config, "d_model") or _count(config, "hidden_size") or LEAST_WIDTH


def _count(config: Mapping[str, Any], key: str) -> int:
    return _whole(config.get(key))


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _shown(count: int) -> str:
    return f"{count:.3g}" if count >= 1e13 else f"{count / 1e6:,.1f} million"


def _configuration(reference: str) -> tuple[Mapping[str, Any], str]:
    """The configuration of a checkpoint as it is written, and its name in messages; {} where it has none to check."""
    path = Path(reference)
    checkpoint = path / CHECKPOINT if (path / CHECKPOINT).is_file() else path
    if checkpoint.is_file():
        return _dims_of(checkpoint), str(checkpoint)
    if path.is_dir():
        file = path / "config.json"
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}, ""  # what is wrong with it is said where it is loaded
        return config if isinstance(config, dict) else {}, str(file)
    if "/" not in reference:
        return {}, ""
    from transformers import PreTrainedConfig

    try:
        return PreTrainedConfig.get_config_dict(reference)[0], f"config.json of {reference}"
    except (OSError, ValueError):
        return {}, ""


def _dims_of(path: Path) -> Mapping[str, Any]:
    """The sizes in a checkpoint of openai-whisper under transformers' names; {} where it has none."""
    import torch

    try:
        return sizes_of_dims(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["dims"])
    except (RuntimeError, OSError, KeyError, TypeError, AttributeError):
        return {}  # what is wrong with it is said where it is loaded


def _n_stored(path: Path) -> int | None:
    """Numbers in the weights of a folder or file, at most; None where there are none."""
    if path.is_file():
        return path.stat().st_size  # a byte or more each
    files = [file for file in path.glob("*") if file.suffix in (".safetensors", ".bin", ".pt")] if path.is_dir() else []
    counts = [_n_in_safetensors(file) if file.suffix == ".safetensors" else file.stat().st_size for file in files]
    return sum(counts) if counts else None


def _n_in_safetensors(path: Path) -> int:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return sum(_n_in_tensor(file.get_slice(key)) for key in file.keys())  # noqa: SIM118
    except (SafetensorError, OSError):
        return path.stat().st_size


def _n_in_tensor(tensor: Any) -> int:
    n = 1
    for size in tensor.get_shape():
        n *= size
    return 8 * n if tensor.get_dtype() in ("U8", "I8", "I32") else n  # quantised weights are packed
