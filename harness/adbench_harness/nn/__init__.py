"""Code that methods share: nearest neighbours, coresets, anomaly maps, pseudo-anomalies."""
