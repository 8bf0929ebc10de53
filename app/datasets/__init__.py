"""Central tables: built by plans from contracts, read through one set of queries."""
