"""ZooKeeper: how to read an ensemble, what its checks are, what is particular to it."""
