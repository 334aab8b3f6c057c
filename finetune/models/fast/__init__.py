"""wav2vec 2.0's convolutions and attention rewritten for the device they run on, with the same results.

`cpu` and `rows` share one interface:

- `replace_convolutions(model)` replaces, in a loaded *ForCTC model, the convolutions of the feature encoder and of the
  positional embedding, as far as they are built as this package knows them, and returns one line for a report on what
  computes each of the two. The model's parameters keep their values and names.

`cpu` is for inference there, `rows` for training on a CPU or a GPU and for inference on a GPU; on other devices what
`rows` replaced computes as transformers does. `folding` is what both share. `packing` leaves padding out of the
transformer layers, on a GPU in 16 bits.
"""
