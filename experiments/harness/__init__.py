"""What the experiments share.

command: the options that all of them have, and how one is run   figures: findings, their table, JSON file and picture
rounds: implementations that take turns, each in a process of its own; timing   speech: speech, noises and rooms to
measure on   fine_tuning: one training job done by this project and by transformers' Trainer
trainings: recipes trained one after the other, each once   transcripts: corpora transcribed, recipes compared
study: a study's options, its results and its page   learning_curve: WER by hours   decodings: language models tried
"""
