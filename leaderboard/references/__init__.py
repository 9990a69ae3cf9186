"""Reference results: what papers report, imported with its provenance, shown in place and never ranked."""
