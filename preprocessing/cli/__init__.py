"""The parts of every command: options, progress, notes, processes. Nothing of speech."""
