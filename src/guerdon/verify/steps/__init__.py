"""Checks of single reasoning steps with exact arithmetic, no model asked."""
