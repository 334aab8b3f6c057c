"""From a CTC model's output to text: `greedy` collapses the best path, `beam` searches with a language model."""
