"""What data set plugins share: folder layouts, published counts, tables."""
