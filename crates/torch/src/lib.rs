//! taktline-torch
