"""The pure core: configuration, status, plans and claims as values; no I/O of any kind."""
