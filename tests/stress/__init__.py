"""What asserts under load or faults, and takes longer than a test may; the tests use smaller helpings of the same.

    python -m tests.stress.crowd MODEL_DIR        fifty visitors of the page at once (`visitors`)
    python -m tests.stress.faults --rounds 1      exports that are killed, full disks, broken files (`breaking`)

From the repository's root. Not here: how fast anything is (`benchmarks/`); replicas that are killed (`tests/serving/`).
"""
