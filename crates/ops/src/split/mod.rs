//! Stages of this family: one file each.
