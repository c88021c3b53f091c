"""Makes the trials that will run from what the user requests."""
