"""The fleet as the admin routes see it: every process's control port of FLEET, asked together, merged."""
