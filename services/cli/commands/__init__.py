"""One file a command; main.py names them."""
