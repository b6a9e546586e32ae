"""One package per technology: the only place that imports its driver."""
