"""Image files as inputs of a model, and maps the way back."""
