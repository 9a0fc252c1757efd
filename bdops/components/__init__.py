"""One folder a component: how to read it, what its checks are, what is particular to it."""
