"""What happened to each object, in words; putting it back."""
