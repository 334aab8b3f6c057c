"""The data of a run: corpora, examples made of utterances, batches loaded ahead, streams, rejects."""
