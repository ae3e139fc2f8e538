"""Grids of learning rates, and what runs add to the grid of a suite."""
