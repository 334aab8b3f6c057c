"""What a run trains on: its corpora, examples made of utterances, batches loaded ahead, streams, rejects."""
