"""Metadata in DataComp's columns for any webdataset shards: the work of dataset2metadata."""
