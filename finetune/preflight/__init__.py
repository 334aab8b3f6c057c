"""Look before you train: dry run, overfitting a batch, costs."""
