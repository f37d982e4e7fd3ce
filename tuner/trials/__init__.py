"""Trials: which comes next, when ASHA stops one, how one trains, and what the best of them reach."""
