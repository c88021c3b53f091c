"""What methods share: nearest neighbours, coresets, maps."""
