"""Samples to learn from and films to read."""
