"""Which request goes next, and when: limits, order, retries, and deadlines for starting."""
