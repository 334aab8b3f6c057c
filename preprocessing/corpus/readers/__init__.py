"""Readers: every way that a corpus is kept, as rows of fields."""
