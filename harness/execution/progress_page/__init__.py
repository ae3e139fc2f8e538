"""The page of a run that is under way, kept up to date by a process of its own."""
