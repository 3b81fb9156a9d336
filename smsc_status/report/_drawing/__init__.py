"""Draws plots as SVG without scripts. Their colours are CSS variables of the page, so they follow light and dark."""
