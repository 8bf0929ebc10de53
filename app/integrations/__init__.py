"""The integrated services: what runs once a case is closed, and who answers for it."""
