"""The proof: is the database what its contract says, and do its readers get right answers?"""
