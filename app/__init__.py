"""Simpul: the rooms of the back-office and exchange server. Composed by app.factory."""
