"""The timing protocol: networks against the pipeline they replace, as a sceptic would."""
