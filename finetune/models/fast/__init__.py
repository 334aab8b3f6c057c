"""wav2vec 2.0's convolutions arranged for the device they run on, with the same results."""
