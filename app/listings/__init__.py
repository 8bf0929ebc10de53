"""What goes with every list: views that people save, many rows changed at once."""
