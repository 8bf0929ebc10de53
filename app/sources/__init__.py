"""Web services of agencies: where they are, how to ask them, and with which secret."""
