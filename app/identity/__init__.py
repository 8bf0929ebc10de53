"""Agencies, people, roles and their permissions."""
