"""Suites whose trials a function of their own trains: what such a trial is, and what comes of it."""
