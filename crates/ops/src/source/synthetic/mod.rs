//! `source.synthetic.*`: seeded generators that follow a published process, where no real data may be shipped.

mod payments;
