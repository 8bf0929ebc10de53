"""Complaints, suggestions and questions about the service: each gets an answer in time."""
