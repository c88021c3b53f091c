"""Code that data sets share: folder layouts, published counts, tables."""
