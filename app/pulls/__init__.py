"""Pulls: from an agency's pages through check and stage to the central table."""
