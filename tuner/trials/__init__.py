"""Trials: which comes next, when ASHA stops one, how one trains, what the best reach."""
