"""What hwseg promises in seconds and bytes, measured: `python -m benchmarks.compile_time` and its neighbours."""
