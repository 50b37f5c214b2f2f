"""Reads what a venue promises about its socket; it never times anything."""
