"""What a device did: every step of `python -m benchmarks.gpu_record`, and a sealed file of each."""
