"""Forced alignment of CTC models: when each word of a text is spoken, how certain it is, and where to cut."""
