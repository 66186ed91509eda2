"""The demo: traffic that makes every part of the platform do what it is there for."""
