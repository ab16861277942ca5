"""Engines that multiply and sum along a kernel map."""
