"""What this project uses of transformers' models without transformers promising to keep it.

The upper bound on transformers in pyproject.toml is raised when these tests pass with the next version: each names what
is gone, and the file here that relies on it.
"""

import inspect
from typing import Any

import pytest
import transformers
from transformers import PreTrainedModel, initialization

from finetune.models.fast.packing import ATTENTIONS
from finetune.models.fast.rows import LAYERS
from tests.finetune.models.test_padding_invariance import KINDS, plain_model


def attribute(owner: Any, path: str, used_by: str) -> Any:
    """The attribute at a dotted path below `owner`; fails naming the path and who relies on it."""
    found = owner
    for name in path.split("."):
        try:
            found = found[int(name)] if name.isdigit() else getattr(found, name)
        except (AttributeError, IndexError, TypeError):
            pytest.fail(f"transformers {transformers.__version__}: {type(owner).__name__} has no {path}: see {used_by}")
    return found


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(
    ("name", "parameters", "used_by"),
    [
        ("_mask_hidden_states", ["hidden_states"], "finetune/models/regularisation.py, LatentMasks"),
        (
            "_get_feature_vector_attention_mask",
            ["feature_vector_length", "attention_mask"],
            "finetune/models/padding_invariance.py, PaddingInvariance",
        ),
    ],
)
def test_methods_that_are_replaced(kind: str, name: str, parameters: list[str], used_by: str) -> None:
    """There, with the parameters that the replacement takes by position, and called by the model's forward pass."""
    base = plain_model(kind).base_model
    method = attribute(base, name, used_by)
    assert list(inspect.signature(method).parameters)[: len(parameters)] == parameters, used_by
    assert f"self.{name}(" in inspect.getsource(type(base).forward), f"{name} is not called any more: see {used_by}"


@pytest.mark.parametrize(
    ("path", "used_by"),
    [
        ("_get_feat_extract_output_lengths", "finetune/models/wav2vec2.py and finetune/systems/wav2vec2.py"),
        ("dropout", "finetune/models/ctc.py, CTCModule"),
        ("lm_head", "finetune/models/ctc.py, CTCModule"),
        ("freeze_feature_encoder", "finetune/models/trainable_parameters.py"),
        ("base_model.masked_spec_embed", "finetune/models/regularisation.py"),
        ("base_model.feature_extractor.conv_layers.0.conv", "finetune/models/fast"),
        ("base_model.feature_extractor.conv_layers.1.activation", "finetune/models/fast"),
        ("base_model.feature_extractor.gradient_checkpointing", "finetune/models/fast/rows.py"),
        ("base_model.encoder.layers.1", "finetune/models/wav2vec2.py, layers_above"),
        ("base_model.encoder.pos_conv_embed", "finetune/models/fast and finetune/models/padding_invariance.py"),
    ],
)
def test_attributes_that_are_used(kind: str, path: str, used_by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, kind, (*KINDS[kind][:2], KINDS[kind][2] | {"mask_time_prob": 0.05}))
    attribute(plain_model(kind), path, used_by)


def test_attention_that_is_packed(kind: str) -> None:
    model, used_by = plain_model(kind), "finetune/models/fast/packing.py"
    attention = getattr(model.base_model.encoder.layers[0], "attention", None)
    if type(attention).__name__ not in ATTENTIONS:
        assert kind.startswith(("wavlm", "conformer")), f"{type(attention).__name__}: see {used_by}"
        return
    for path in ("head_dim", "dropout"):
        attribute(attention, path, used_by)
    assert attribute(model.config, "_attn_implementation", used_by) == "sdpa"
    source = inspect.getsource(type(attention).forward)
    assert "ALL_ATTENTION_FUNCTIONS.get_interface(" in source and "scaling=self.scaling" in source, used_by
    assert "create_bidirectional_mask(" in inspect.getsource(type(model.base_model.encoder).forward), used_by


def test_layers_that_are_rewritten(kind: str) -> None:
    base = plain_model(kind).base_model
    for layer in base.feature_extractor.conv_layers:
        assert type(layer).__name__.endswith(LAYERS), f"{type(layer).__name__}: see finetune/models/fast/rows.py"
    positions = base.encoder.pos_conv_embed
    if kind == "data2vec":
        assert len(positions.layers) == 3, "see finetune/models/padding_invariance.py"
    else:
        children = {name for name, _ in positions.named_children()}
        assert children == {"conv", "padding", "activation"}, "see finetune/models/fast/cpu.py, FastPositions"


def test_mms_adapters() -> None:
    model = plain_model("mms")
    adapters = attribute(model, "_get_adapters", "finetune/models/trainable_parameters.py")()
    assert adapters and all(parameter.requires_grad for parameter in adapters.values())
    attribute(model, "init_adapter_layers", "finetune/models/trainable_parameters.py")


def test_hooks_of_an_own_model() -> None:
    """`_init_weights` is called for each module, and `_is_hf_initialized` marks what a checkpoint has filled."""
    used_by = "finetune/models/lstm_ctc.py, LSTMForCTC"
    assert "_is_hf_initialized" in inspect.getsource(initialization), used_by
    assert "_init_weights" in inspect.getsource(PreTrainedModel._initialize_weights), used_by
