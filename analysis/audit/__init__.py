"""Does the scheduler throw the best trial away: python -m analysis.audit."""
