"""Archives and weights, fetched and checked."""
