"""The parts of every command: options, errors in one sentence, atomic writes, progress. Nothing of speech."""
