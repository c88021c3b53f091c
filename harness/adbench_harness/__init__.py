"""adbench: a plugin-architecture benchmark harness for visual anomaly detection."""

__version__ = "0.1.0"
