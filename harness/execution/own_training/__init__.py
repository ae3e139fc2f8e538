"""Trials that a function of the suite's own trains: how it is run, and what it is given."""
