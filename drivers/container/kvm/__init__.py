"""KVM by libvirt: the library as plain calls, what its states mean, and the driver."""
