"""Measurements beside the peers: ./simpul bench."""
