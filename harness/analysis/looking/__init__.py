"""Verdicts that were looked at more than once."""
