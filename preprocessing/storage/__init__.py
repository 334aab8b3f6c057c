"""Files and folders: whole or not written at all, one run at a time in each, where the data is, a model's files."""
