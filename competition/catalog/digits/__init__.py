"""The digits competition: its file, and the modules that make its images, captions and evaluation sets from code."""
