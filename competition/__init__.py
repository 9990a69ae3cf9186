"""The shared contract: rules, records, formats and the official evaluation. Knows no other package."""

__version__ = "0.1.0"
