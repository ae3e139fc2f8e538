"""Runs that go on until claims are decided."""
