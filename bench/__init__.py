"""Side-by-side benchmarks: every figure beside the machine's floor and a peer, from one run."""
