"""What the benchmarks share: servers, made-up records, memory, peers, the report."""
