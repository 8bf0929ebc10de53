"""Readers of other offices' web services: they know HTTP and JSON, no database and no page."""
