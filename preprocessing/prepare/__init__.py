"""A corpus of any size made ready once: 16 kHz FLAC shards with a manifest, rejects and statistics.

`python -m preprocessing.prepare DATA OUT` is the command. Each shard is one job, done by whichever process or machine
takes it; its bytes depend on the corpus and the options alone.
"""
