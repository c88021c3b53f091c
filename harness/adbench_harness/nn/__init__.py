"""What methods share: nearest neighbours, coresets, anomaly maps, parts of pseudo-anomalies."""
