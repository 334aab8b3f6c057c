"""What every command shares: errors, options, atomic writes, progress."""
