"""What pages and endpoints share: base views, the guard, errors, words and numbers."""
