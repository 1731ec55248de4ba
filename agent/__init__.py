"""The live agent: conversations, transports, the command line."""

import os

# One thread for numpy's matrix products, unless the operator says otherwise: those of the motion are small, and
# OpenBLAS threads wait for each other by spinning. With more runnable threads than cores a window of motion that takes
# 7 ms was seen to take five seconds. Must be set before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
