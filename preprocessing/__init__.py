"""Everything between a recording with its transcript and a model's input; imported by finetune, benchmark, experiments.

audio: waveforms   corpus: utterances of a data set   text: normalisation   units: output vocabularies
segment: pieces of long recordings   features: spectra   augment: changes of waveforms and features
prepare: a corpus stored as shards   batching: batches by duration   frames: sizes of wav2vec 2.0's frames
cli, plot_style: the parts that all commands and all pictures share   show: a page about one recording
"""
