"""Where cohorts run: worker processes and ranks, and what is said between them and their supervisor."""
