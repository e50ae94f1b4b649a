"""How a database is asked for nearest neighbours, as its readers ask it, and how right its answers are."""
