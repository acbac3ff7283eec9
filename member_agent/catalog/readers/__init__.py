"""Streams of rows out of files, queries and folders.

Every reader gives the same thing: `columns`, and `records()` with one `Record` a row, numbered as a spreadsheet
numbers them. A row that cannot be read is a record with an error in it, never an exception: it does not stop the
rows after it. What is wrong with a whole source (encoding, no header, no such table) is raised as InvalidInput.
Reading the same bytes twice gives the same records with the same numbers; that is what resuming rests on.
"""
