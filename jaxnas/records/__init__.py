"""What lies in the files of a run, file by file.

What is not as its stage wrote it is said to be corrupt, and where.

Columns and values that are not named here pass: other stages may add some, and older runs lack
some.
"""
