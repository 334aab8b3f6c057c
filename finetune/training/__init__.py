"""A run: put together, trained update by update, evaluated, saved and resumed."""
