"""Open questions as experiments: each a command that gives its figures again."""
