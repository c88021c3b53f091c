"""Trials and what came out of them, as stored."""
