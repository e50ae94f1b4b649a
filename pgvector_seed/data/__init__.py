"""The rows of a database: where they go, the files that they come from, and loading them.

numpy and pyarrow are the extra ``load``: ``target`` needs neither.
"""
