"""Faults by the hundred, drawn from a seed: kills, damaged files, and command lines."""
