"""The public website: pages that any browser can read without JavaScript, made from the API's own records.

``rendering`` turns records into HTML and knows no database; ``pages`` is the router; ``assets`` serves the static
files; ``responses`` sets the headers that every page carries.
"""
