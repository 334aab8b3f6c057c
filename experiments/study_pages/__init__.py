"""What a study found: the dataclasses of its results, and the tables, sentences and picture of its page."""
