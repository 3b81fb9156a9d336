"""What goes next, and when: the limits, the order, retries and deadlines for starting."""
