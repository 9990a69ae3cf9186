"""The work on entries: leased jobs, results task by task, and what becomes of a job whose worker is lost."""
