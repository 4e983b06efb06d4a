//! taktline-evaluate
