"""Training update by update: evaluated, diagnosed, saved and resumed; `finetune.training_run` puts a run together."""
