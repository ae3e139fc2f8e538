"""The package called from Python: from a script, a notebook, or a thread."""
