"""The part of Hadoop's RPC messages that bdops uses; `make generate` writes the *_pb2 modules."""
