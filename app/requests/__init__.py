"""The case: what an agency asked for, its twelve steps, who acted, and why."""
