"""Export of a model to ONNX, checked against the original."""
