"""What other programs read and call: ONNX, COLMAP, hloc, tie points as tables, OpenCV's and kornia's interfaces."""
