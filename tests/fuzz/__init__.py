"""What holds for any bytes, tried: under atheris by hand (`python -m tests.fuzz PLAIN`), and briefly by hypothesis."""
