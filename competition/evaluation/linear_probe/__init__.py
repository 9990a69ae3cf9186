"""Linear probes on features that were computed once: ELEVATER's, CLIP_benchmark's and SimCore's."""
