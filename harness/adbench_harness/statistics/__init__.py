"""Which differences are statistically significant."""
