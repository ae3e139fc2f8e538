"""The native library: kernels in C++, compiled when they are first needed, and loaded through ctypes."""
