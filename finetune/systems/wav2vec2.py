"""Any CTC model of transformers under this project's preprocessing, in padded batches and with faster convolutions.

Utterances of similar length are one padded batch, in which each has the logits that it has alone, to 1e-4 in float32
(`finetune.models.padding_invariance`). Convolutions are faster ones with the same results (`finetune.models.fast`); on
a GPU, arithmetic is float16. Only the best units leave the device, or for a beam search log-probabilities.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from finetune.models.architectures import FBANK_HOP, FBANK_PAIR, ModelInput, architecture_of
from finetune.models.checkpoint_checks import checked_loading
from finetune.models.fast import cpu, rows
from finetune.models.fast.folding import UNCHANGED, fold_weight_norm
from finetune.models.fast.packing import pack_layers
from finetune.models.frame_geometry import frame_times, has_adapter, long_form
from finetune.models.language_adapters import adapter_of, check_own_language
from finetune.models.padding_invariance import PaddingInvariance
from finetune.systems.base import LoadOptions, SystemSpec, resolve_precision
from finetune.systems.ctc_decoding import ctc_decoding
from finetune.systems.ctc_pieces import Batching, Piece, Pieces, PiecewiseCTCSystem
from preprocessing.audio import SAMPLE_RATE
from preprocessing.errors import InputError
from preprocessing.storage.model_file import loading_reason
from preprocessing.units import Vocabulary

CHUNKS_AT_ONCE = {"cpu": 4, "cuda": 16}
FEATURE_RATE = SAMPLE_RATE // (FBANK_HOP * FBANK_PAIR)  # frames of log-mel a second


class Wav2Vec2System(PiecewiseCTCSystem):
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
        self.language = options.language if adapter.chosen else adapter.language
        self._device = torch.device(options.device)
        precision = resolve_precision(options.precision, options.device)
        self._dtype = precision.dtype
        parameters = sum(parameter.numel() for parameter in self._model.parameters())
        self._model.eval()
        in_batches = not has_adapter(self._model.config)
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
        vocabulary = Vocabulary.load(spec.checkpoint, adapter.chosen)
        decoding = ctc_decoding(spec, options, vocabulary)
        chunks_at_once = CHUNKS_AT_ONCE[options.device]
        batching = Batching(
            options.device, FEATURE_RATE if self._architecture.log_mel else SAMPLE_RATE, in_batches, chunks_at_once
        )
        config = self._model.config
        super().__init__(vocabulary, decoding, frame_times(config), long_form(config), batching)
        in_chunks = self.long_form.chunking is not None
        self.facts = spec.facts(
            parameters=parameters,
            settings={
                **({} if adapter.language is None else {"language": adapter.language}),
                "decoding": decoding.description,
                "precision": precision.description,
                "convolutions": convolutions,
                **(
                    {}
                    if self._packed_layers is None
                    else {"attention": "flash attention without padding, where the GPU has it"}
                ),
                "batch": _batch_description(self._dtype) if in_batches else "one at a time: padding changes it",
                "long recordings": self.long_form.description + (f", {chunks_at_once} at a time" if in_chunks else ""),
            },
        )

    def features(self, waveforms: Sequence[Tensor]) -> Pieces:
        """Pieces of waveforms, or for a w2v-BERT of log-mel [frames, bins], normalised over the whole recording. Raises
        InputError where one is too long.
        """
        planned = list(self._planned(waveforms))
        lengths = [len(waveform) for waveform in waveforms]
        if self._device.type == "cuda":  # in one transfer, and normalised there
            together = torch.empty(sum(lengths), pin_memory=True)
            torch.cat(list(waveforms), out=together)
            waveforms = torch.split(together.to(self._device, non_blocking=True), lengths)
        inputs = [self._model_input(waveform).to(self._dtype) for waveform in waveforms]
        pieces = []
        for place, chunk in planned:
            values = inputs[place]
            values = values.T if values.ndim > 1 else values[chunk.start : chunk.stop]  # log-mel is never chunked
            if self._n_frames(len(values)) > 0:
                pieces.append(Piece(place, chunk, values, len(values)))
        return Pieces(len(waveforms), tuple(pieces))

    def _n_frames(self, length: int) -> int:
        """Frames of a waveform of so many samples, or of so many of log-mel."""
        return int(self._model._get_feat_extract_output_lengths(length))

    def _compute(self, inputs: list[Tensor]) -> tuple[Tensor, Sequence[int]]:
        lengths = [len(one) for one in inputs]
        if min(lengths) == max(lengths):  # a plain call is exact, and faster
            logits = self._model(torch.stack(inputs)).logits
            return logits, [self._n_frames(lengths[0])] * len(lengths)
        padded = torch.nn.utils.rnn.pad_sequence(inputs, batch_first=True)
        n_samples = torch.tensor(lengths)
        n_frames = self._model._get_feat_extract_output_lengths(n_samples).long()
        positions = torch.arange(padded.shape[1], device=self._device)
        on_device = n_samples.to(self._device, non_blocking=True)
        if self._padding_invariance is not None:
            self._padding_invariance.set_lengths(on_device, n_frames.to(self._device, non_blocking=True))
        if self._packed_layers is not None:
            self._packed_layers.set_lengths(n_frames)
        mask = (positions < on_device[:, None]).long()
        return self._model(padded, attention_mask=mask).logits, n_frames.tolist()


def _batch_description(dtype: torch.dtype) -> str:
    if dtype == torch.float32:
        return "padded, each utterance as it is alone"
    return f"padded, each utterance as it is alone but for the rounding of {str(dtype).removeprefix('torch.')}"
