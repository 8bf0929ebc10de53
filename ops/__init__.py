"""What runs Simpul on a machine: set-up, embedded servers, supervisor, command line."""
