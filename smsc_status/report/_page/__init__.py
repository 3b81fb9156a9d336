"""Makes the page: what it says, in English or Russian, and its HTML."""
