"""What methods share: exact nearest neighbours, coreset selection and anomaly-map operations."""
