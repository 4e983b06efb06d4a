//! taktline-spec
