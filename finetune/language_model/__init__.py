"""N-gram language models of words for decoding: estimated here (modified Kneser-Ney) or read from an ARPA file."""

from finetune.language_model.ngram import NgramModel as NgramModel
