"""HiDT: high-resolution daytime translation without domain labels (CVPR 2020)."""
