"""Language models for decoding: n-grams of words or characters, estimated here or read from files, and LSTMs."""
