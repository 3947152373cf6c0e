"""A study's database: opened, and changed in transactions that lose nothing."""

import os

# gRPC's own lines on standard error repeat what its exceptions say. Read when it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
