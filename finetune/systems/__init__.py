"""Recognisers ready to be used, of every family behind one interface (`base`), found by name (`registry`).

`finetune.transcribe`, the benchmark and the app use them alike.
"""
