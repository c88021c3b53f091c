"""From what the user asks for to the trials that will run."""
