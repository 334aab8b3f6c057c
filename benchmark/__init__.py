"""Measures speech recognisers on one corpus: error rates with confidence, latency, throughput and memory."""

__version__ = "0.3.1"  # of the whole project, as in pyproject.toml; part of every signature of a score
