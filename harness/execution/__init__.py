"""The run of a suite: its preflight, its cohorts in worker processes and on ranks, its report. Start with runner.py."""
