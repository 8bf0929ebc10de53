"""Papers: official letters and documents set in type, out of plain data."""
