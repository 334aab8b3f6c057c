"""Writes a trained run in the format that another program loads."""
