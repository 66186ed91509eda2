"""What `scalable-api check` looks at: each module looks (I/O) and judges what it saw (plain functions) into findings."""
