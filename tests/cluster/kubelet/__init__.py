"""The parts of the process node (tests/cluster/process_node.py): what a kubelet does, with processes of this checkout for containers."""
