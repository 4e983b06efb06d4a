//! `deploy.*`: what becomes of a model that is good enough.

mod bundle;
