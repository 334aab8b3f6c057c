"""Any CTC model of transformers under this project's preprocessing, in padded batches and with faster convolutions.

Utterances of similar length are one padded batch, in which each has the logits that it has alone, to 1e-4 in float32
(`finetune.models.padding_invariance`). Convolutions are faster ones with the same results (`finetune.models.fast`); on
a GPU, arithmetic is float16. Only the best units leave the device, or for a beam search log-probabilities.

A recording of up to WHOLE_SECONDS is one input. A longer one is transcribed in overlapping chunks, whose frames are
joined and collapsed once, so that no letter is doubled or lost at a seam; the logits of one batch exist at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from finetune.models.architectures import FBANK_HOP, FBANK_PAIR, ModelInput, architecture_of
from finetune.models.checkpoint_checks import checked_loading
from finetune.models.fast import cpu, rows
from finetune.models.fast.folding import UNCHANGED, fold_weight_norm
from finetune.models.fast.packing import pack_layers
from finetune.models.frame_geometry import (
    CHUNK_SECONDS,
    CONTEXT_SECONDS,
    LONGEST_WHOLE_SECONDS,
    WHOLE_SECONDS,
    frame_times,
    has_adapter,
    long_form,
)
from finetune.models.language_adapters import adapter_of, check_own_language
from finetune.models.padding_invariance import PaddingInvariance
from finetune.systems.base import LoadOptions, SystemSpec, resolve_precision
from finetune.systems.ctc import (
    MAX_PASS_SECONDS,
    NO_FRAMES,
    PASS_COST_SECONDS,
    CTCSystem,
    optimal_batches,
    split_batch,
)
from preprocessing.audio import SAMPLE_RATE
from preprocessing.cli.model_file import loading_reason
from preprocessing.errors import InputError
from preprocessing.segment import Chunking, frames_in_chunks
from preprocessing.units import Vocabulary

CHUNKS_AT_ONCE = {"cpu": 4, "cuda": 16}
IN_CHUNKS = (
    f"over {WHOLE_SECONDS:g} s: chunks of {CHUNK_SECONDS:g} s with {CONTEXT_SECONDS:g} s of context either side, "
    "{} at a time"
)
FEATURE_RATE = SAMPLE_RATE // (FBANK_HOP * FBANK_PAIR)  # frames of log-mel a second
WHOLE_ONLY = f"whole, up to {LONGEST_WHOLE_SECONDS:g} s"


@dataclass(frozen=True, slots=True)
class Waveforms:
    """Normalised waveforms [samples], or of a w2v-BERT log-mel [frames, bins], on the model's device, as given."""

    values: tuple[Tensor, ...]


class Wav2Vec2System(CTCSystem):
    """A CTC model: short recordings in padded batches, the chunks of long ones in batches without padding."""

    def __init__(self, spec: SystemSpec, options: LoadOptions) -> None:
        from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForCTC

        adapter = adapter_of(spec.name, spec.checkpoint, options.language)
        check_own_language(spec.name, spec.checkpoint, options.system.language, adapter)
        self.takes_language = adapter.chosen is not None
        try:
            self._architecture = architecture_of(AutoConfig.from_pretrained(spec.checkpoint), spec.name)
            with checked_loading(spec.checkpoint):
                self._model = AutoModelForCTC.from_pretrained(spec.checkpoint, dtype=torch.float32, **adapter.loading)
            extractor = AutoFeatureExtractor.from_pretrained(spec.checkpoint)
        except (OSError, ValueError) as error:
            reason = loading_reason(error)
            raise InputError(
                f"{spec.name}: {spec.checkpoint} cannot be loaded as a CTC model ({reason}); expected a transformers "
                "folder or Hub id: check the name and the network"
            ) from error
        self._model_input = ModelInput(extractor, self._architecture, spec.name)
        self.vocabulary = Vocabulary.load(spec.checkpoint, adapter.chosen)
        self.language = options.language if adapter.chosen else adapter.language
        self._device = torch.device(options.device)
        precision = resolve_precision(options.precision, options.device)
        self._dtype = precision.dtype
        parameters = sum(parameter.numel() for parameter in self._model.parameters())
        self._model.eval()
        self._in_batches = in_batches = not has_adapter(self._model.config)
        convolves = in_batches and not self._architecture.log_mel
        self._padding_invariance = PaddingInvariance(self._model) if convolves else None
        packs = in_batches and options.device == "cuda" and self._dtype != torch.float32
        self._packed_layers = pack_layers(self._model) if packs else None
        convolutions = UNCHANGED
        fold_weight_norm(self._model)
        if convolves and options.device == "cpu":
            convolutions = cpu.replace_convolutions(self._model, self._dtype)
        elif options.device == "cuda" and not self._architecture.log_mel:
            convolutions = rows.replace_convolutions(self._model)
        self._model.to(self._device, self._dtype)
        if self._dtype != torch.float32:  # the output layer computes in float32: the best unit is decided there
            self._model.lm_head.float().register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
        self._finite: list[Tensor] = []  # whether all logits of each pass are, on the device
        self._set_long_form(long_form(self._model.config))
        self.times = frame_times(self._model.config)
        self.facts = spec.facts(
            parameters=parameters,
            settings={
                **({} if adapter.language is None else {"language": adapter.language}),
                "decoding": self._prepare_decoding(spec, options),
                "precision": precision.description,
                "convolutions": convolutions,
                **(
                    {}
                    if self._packed_layers is None
                    else {"attention": "flash attention without padding, where the GPU has it"}
                ),
                "batch": _batch_description(self._dtype) if in_batches else "one at a time: padding changes it",
                "long recordings": WHOLE_ONLY
                if self.long_form.chunking is None
                else IN_CHUNKS.format(CHUNKS_AT_ONCE[options.device]),
            },
        )

    def features(self, waveforms: Sequence[Tensor]) -> Waveforms:
        """Waveforms normalised over the whole recording, chunked or not.

        Raises InputError for a recording over LONGEST_WHOLE_SECONDS of a model that cannot be chunked.
        """
        self._refuse_too_long(waveforms)
        lengths = [len(waveform) for waveform in waveforms]
        if self._device.type == "cuda":  # in one transfer, and normalised there
            together = torch.empty(sum(lengths), pin_memory=True)
            torch.cat(list(waveforms), out=together)
            waveforms = torch.split(together.to(self._device, non_blocking=True), lengths)
        inputs = (self._model_input(waveform).to(self._dtype) for waveform in waveforms)
        return Waveforms(tuple(one.T if one.ndim > 1 else one for one in inputs))

    @torch.inference_mode()
    def forward(self, features: Waveforms) -> list[Tensor]:
        """Each recording's frames to decode (`CTCSystem`); one that is shorter than a frame has none."""
        decodable = [NO_FRAMES for _ in features.values]
        whole = []
        for index, values in enumerate(features.values):
            if self.long_form.chunking is not None and not self.long_form.is_whole(len(values)):
                decodable[index] = self._in_chunks(values, self.long_form.chunking)
            elif self._n_frames(len(values)) > 0:
                whole.append(index)
        lengths = [len(features.values[index]) for index in whole]
        device, rate = self._device.type, FEATURE_RATE if self._architecture.log_mel else SAMPLE_RATE
        maximum = MAX_PASS_SECONDS[device] * rate if self._in_batches else 0.0
        batches = [
            [whole[place] for place in batch]
            for batch in optimal_batches(lengths, pass_cost=PASS_COST_SECONDS[device] * rate, maximum=maximum)
        ]
        computed = [self._compute([features.values[index] for index in batch]) for batch in batches]
        self._refuse_overflow()
        for batch, frames in zip(batches, computed, strict=True):  # only here is the device waited for
            n_frames = [self._n_frames(len(features.values[index])) for index in batch]
            for index, own in zip(batch, split_batch(frames, n_frames), strict=True):
                decodable[index] = own
        return decodable

    def _n_frames(self, length: int) -> int:
        """Frames of a waveform of so many samples, or of so many of log-mel."""
        return int(self._model._get_feat_extract_output_lengths(length))

    def _in_chunks(self, values: Tensor, chunking: Chunking) -> Tensor:
        """The frames to decode of one long recording [samples], on the CPU."""
        batch_size = CHUNKS_AT_ONCE[self._device.type]
        frames = frames_in_chunks(values, chunking, self._compute, batch_size=batch_size, advance=self._advance)
        self._refuse_overflow()
        return frames.cpu()

    def _compute(self, rows: Sequence[Tensor]) -> Tensor:
        """Rows of `Waveforms` -> their frames to decode, and those of padding, [batch, frames, ...] on the device."""
        lengths = [len(row) for row in rows]
        if min(lengths) == max(lengths):  # a plain call is exact, and faster
            return self._checked(self._model(torch.stack(list(rows))).logits)
        inputs = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
        n_samples = torch.tensor(lengths)
        n_frames = self._model._get_feat_extract_output_lengths(n_samples).long()
        positions = torch.arange(inputs.shape[1], device=self._device)
        on_device = n_samples.to(self._device, non_blocking=True)
        if self._padding_invariance is not None:
            self._padding_invariance.set_lengths(on_device, n_frames.to(self._device, non_blocking=True))
        if self._packed_layers is not None:
            self._packed_layers.set_lengths(n_frames)
        mask = (positions < on_device[:, None]).long()
        return self._checked(self._model(inputs, attention_mask=mask).logits)

    def _checked(self, logits: Tensor) -> Tensor:
        if self._dtype == torch.float16:
            self._finite.append(logits.isfinite().all())
        return self._frames_to_decode(logits)

    def _refuse_overflow(self) -> None:
        """Raises InputError where logits since the last call are not finite: activations left the range of float16."""
        finite, self._finite = self._finite, []
        if finite and not bool(torch.stack(finite).all()):
            raise InputError("activations leave the range of float16; expected finite logits: set --precision bfloat16")


def _batch_description(dtype: torch.dtype) -> str:
    if dtype == torch.float32:
        return "padded, each utterance as it is alone"
    return f"padded, each utterance as it is alone but for the rounding of {str(dtype).removeprefix('torch.')}"
