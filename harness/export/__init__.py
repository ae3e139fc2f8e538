"""Trained models by themselves: written in forms that others read, read back without trust, evaluated."""
