"""A simulated hypervisor of each container type, for the contract that all of them keep."""
