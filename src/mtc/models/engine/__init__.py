"""Networks in evaluation mode on the CPU, in compiled kernels: see docs/engine.md."""
