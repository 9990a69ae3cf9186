"""What packages exchange, versioned for ever: manifests, reports, results, events, and the API's messages.

Import from the module of the noun: ``competition.records.manifest``, ``.training``, ``.evaluation``, ``.lifecycle``,
``.submission``, ``.scoring``, ``.standings``, ``.audit``.
"""
