"""Pipelines: a YAML file of steps, run to one dataset with a record of how it was made."""
