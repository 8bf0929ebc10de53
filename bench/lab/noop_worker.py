"""``jobs.worker`` as an operator starts it, with one more kind of work."""

from bench.lab import noop

if __name__ == "__main__":
    noop.register()
    from jobs import worker

    worker.main()
