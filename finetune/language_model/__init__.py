"""Language models for decoding: n-grams of words, estimated here or read from an ARPA file."""

from finetune.language_model.ngram import NgramModel as NgramModel
