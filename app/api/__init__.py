"""Handing data out over HTTP: keys, grants, limits, the door that serves them."""
