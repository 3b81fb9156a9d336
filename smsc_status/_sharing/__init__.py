"""One account shared by processes and machines: the stores of its log, and the limiter over them."""
