"""Background work: thin jobs, the worker, the scheduler and their runtime."""
