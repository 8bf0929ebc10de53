"""Files that people send: looked at before they are kept, kept by their content."""
