"""Counts, reasons with their remedies, and limits of memory and load."""
