//! Integration tests over the real `takt`.
