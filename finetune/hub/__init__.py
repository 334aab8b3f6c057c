"""Publishing a trained run on the Hugging Face Hub: what is uploaded, the model card, and the way there."""
