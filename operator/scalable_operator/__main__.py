"""`python -m scalable_operator`: the operator's process."""

from scalable_operator.main import main

main()
