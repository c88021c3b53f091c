"""Downloads archives and weights and verifies them."""
