"""Fine-tuning speech recognisers and decoding with them: training, model families, decoding, metrics, publishing."""
