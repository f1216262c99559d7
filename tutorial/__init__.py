"""What stands behind `notebook_utils` and `cmd_helper`, one subject per file. Notebooks import those two, not this."""
