//! `model.torch.*`: networks declared layer by layer in YAML, trained by libtorch. And `balance.gan` and `balance.vae`, which
//! make up training rows by networks.
//!
//! The sources are compiled twice. As `taktline-torch` they know the kinds, walk layer shapes and talk to a shared library,
//! without libtorch, so that `check`, `plan` and `stages` work in every build and start at once. As `taktline-torch-runtime`
//! (feature `libtorch`) they are that shared library: the training loop and the prediction. [`bridge`] is the narrow
//! C interface between the two, and the only place with `unsafe` code.

pub mod bridge;
pub mod layers;
pub mod protocol;

// Core's own file: the half that needs libtorch has no other use for core.
#[expect(unreachable_pub, reason = "public in core")]
#[path = "../../core/src/counts.rs"]
mod counts;

#[cfg(not(feature = "libtorch"))]
mod arrays;
#[cfg(not(feature = "libtorch"))]
mod initial;
#[cfg(not(feature = "libtorch"))]
mod labels;
#[cfg(not(feature = "libtorch"))]
mod lesson;
#[cfg(not(feature = "libtorch"))]
mod reconstruction;
#[cfg(not(feature = "libtorch"))]
mod runtime;
#[cfg(not(feature = "libtorch"))]
mod settings;
#[cfg(not(feature = "libtorch"))]
mod supervised;
#[cfg(not(feature = "libtorch"))]
mod synthesis;

#[cfg(not(feature = "libtorch"))]
mod autoencoder;
#[cfg(not(feature = "libtorch"))]
mod balance_gan;
#[cfg(not(feature = "libtorch"))]
mod balance_vae;
#[cfg(not(feature = "libtorch"))]
mod cnn;
#[cfg(not(feature = "libtorch"))]
mod jigsaw;
#[cfg(not(feature = "libtorch"))]
mod mlp;
#[cfg(not(feature = "libtorch"))]
mod multimodal;
#[cfg(not(feature = "libtorch"))]
mod recommender;
#[cfg(not(feature = "libtorch"))]
mod rnn;
#[cfg(not(feature = "libtorch"))]
mod script;
#[cfg(not(feature = "libtorch"))]
mod vae;

#[cfg(not(feature = "libtorch"))]
pub use runtime::{BUILT_WITHOUT, HOW_TO_GET, missing};

#[cfg(feature = "libtorch")]
mod augmentation;
#[cfg(feature = "libtorch")]
mod contest;
#[cfg(feature = "libtorch")]
mod inference;
#[cfg(feature = "libtorch")]
mod loss;
#[cfg(feature = "libtorch")]
mod module;
#[cfg(feature = "libtorch")]
mod network;
#[cfg(feature = "libtorch")]
mod optimizer;
#[cfg(feature = "libtorch")]
mod puzzle;
// Its tests need no libtorch.
#[cfg(any(feature = "libtorch", test))]
mod reason;
#[cfg(feature = "libtorch")]
pub mod training;
