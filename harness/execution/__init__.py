"""Where cohorts run: worker processes on this machine, and what is said between them and their supervisor."""
