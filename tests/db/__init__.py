"""The engine, the sample and the embedded server on real servers."""
