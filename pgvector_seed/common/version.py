"""The version of this project. The build backend reads it here."""

VERSION = "0.1.0"
