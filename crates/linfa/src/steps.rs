//! What is told of a fit while it goes on.

use std::sync::atomic::{AtomicU64, Ordering};

use taktline_core::{FitContext, Progress, ProgressEvent};

/// Counts steps that several threads take.
pub(crate) struct Steps<'a> {
    progress: &'a dyn Progress,
    done: AtomicU64,
    total: u64,
    unit: &'static str,
}

impl<'a> Steps<'a> {
    pub(crate) fn new(cx: &FitContext<'a>, total: usize, unit: &'static str) -> Self {
        Self {
            progress: cx.progress,
            done: AtomicU64::new(0),
            total: total as u64,
            unit,
        }
    }

    /// So many steps are done, besides those that were.
    pub(crate) fn add(&self, steps: u64) {
        let done = self.done.fetch_add(steps, Ordering::Relaxed) + steps;
        self.tell(done);
    }

    /// So many steps are done in all.
    pub(crate) fn reach(&self, steps: usize) {
        self.tell(steps as u64);
    }

    fn tell(&self, done: u64) {
        self.progress.event(ProgressEvent::Step {
            done: done.min(self.total),
            total: self.total,
            unit: self.unit,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use taktline_core::{Registry, Role, Shape, serde_yaml};

    use super::*;
    use crate::testing::{standardised, tumours, with_roles};

    /// Steps or epochs done and to do, as they were told.
    struct Told(Mutex<Vec<(u64, u64)>>);

    impl Progress for Told {
        fn event(&self, event: ProgressEvent) {
            let told = match event {
                ProgressEvent::Step { done, total, .. } => (done, total),
                ProgressEvent::Epoch { epoch, epochs, .. } => (epoch, epochs),
                ProgressEvent::Message(_) => return,
            };
            self.0.lock().expect("no panic").push(told);
        }
    }

    #[test]
    fn kinds_that_take_their_time_tell_their_steps() {
        let names = ["mean_radius", "mean_texture", "mean_smoothness"];
        let data = standardised(tumours(), &names);
        let of_classes = with_roles(data.clone(), &[("diagnosis", Role::Target)]);
        let of_numbers = with_roles(data, &[("worst_area", Role::Target)]);
        let registry = Registry::collect().expect("no kind twice");
        for (kind, more, frame) in [
            ("model.linfa.logistic_regression", "", &of_classes),
            ("model.linfa.svm", "", &of_classes),
            ("model.linfa.random_forest", ", trees: 5", &of_classes),
            ("model.linfa.adaboost", ", rounds: 5", &of_classes),
            ("model.boost.trees", ", rounds: 5", &of_classes),
            ("model.linfa.ftrl", "", &of_classes),
            ("model.linfa.elastic_net", "", &of_numbers),
            ("model.linfa.glm", "", &of_numbers),
            ("model.linfa.k_means", ", clusters: 3", &of_numbers),
            ("model.linfa.gaussian_mixture", ", clusters: 2", &of_numbers),
            (
                "model.linfa.dbscan",
                ", eps: 0.5, min_points: 4",
                &of_numbers,
            ),
            ("model.linfa.optics", ", min_points: 4", &of_numbers),
            ("model.anomaly.isolation_forest", ", trees: 5", &of_numbers),
        ] {
            let params = format!("{{features: [{}]{more}}}", names.join(", "));
            let params = serde_yaml::from_str(&params).expect("YAML");
            let stage = (registry.get(kind).expect(kind).parse)(&params).expect(kind);
            let Shape::Model(model) = stage.shape() else {
                panic!("{kind} is no model");
            };
            let told = Told(Mutex::new(Vec::new()));
            let mut cx = FitContext {
                progress: &told,
                ..FitContext::quiet(1)
            };
            model.fit(frame, None, &mut cx).expect(kind);
            let steps = told.0.into_inner().expect("no panic");
            assert!(!steps.is_empty(), "{kind} tells nothing");
            let is_sound = |(done, total): &(u64, u64)| done <= total;
            assert!(steps.iter().all(is_sound), "{kind}: {steps:?}");
            assert!(steps.iter().any(|(done, _)| *done > 0), "{kind}: {steps:?}");
        }
    }
}
