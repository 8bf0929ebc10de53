"""Data contracts: what is exchanged, in versions; they generate table, decoder and Excel."""
