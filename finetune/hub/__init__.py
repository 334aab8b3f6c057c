"""Publishes a trained run on the Hugging Face Hub, with its model card."""
