"""Engines, which run bundles."""
