"""Figures beside the libraries that a user would pick instead, measured in one run on one machine."""
