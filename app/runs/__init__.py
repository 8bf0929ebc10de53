"""The ledger of background work: a run is a row, and Redis only rings the bell."""
