"""The timing protocol: networks against the pipeline they replace, so that a sceptic accepts the numbers."""
