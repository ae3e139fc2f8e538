"""Suites by where they stand: those that ship with the package, and those that a program declares."""
