//! `/metrics` for Prometheus and `/healthz` for whoever restarts what is ill.

use std::{
    net::SocketAddr,
    sync::Arc,
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use taktline_core::counted;
use taktline_store::{JobState, RunFilter, RunState, RunStore, now};
use tokio::net::TcpListener;

use crate::{Error, Result};

/// Metrics of models are those of each pipeline's newest success among so many runs.
const LOOKED_AT: u32 = 500;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfPipeline {
    pipeline: String,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfMetric {
    pipeline: String,
    stage: String,
    metric: String,
}

/// What the answers come from.
struct Watched {
    store: RunStore,
    /// What is wrong with the scheduler's spec files; a worker has none.
    spec_errors: Option<Arc<AtomicI64>>,
}

/// Listens until the process ends; answers where.
///
/// # Errors
/// The address cannot be listened at.
pub async fn serve(
    store: RunStore,
    spec_errors: Option<Arc<AtomicI64>>,
    address: &str,
) -> Result<SocketAddr> {
    let failed = |source| Error::Listen {
        address: address.to_owned(),
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let app = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .with_state(Arc::new(Watched { store, spec_errors }));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!(%error, "metrics are not served any more");
        }
    });
    Ok(bound)
}

/// Ill is who a restart may help: faults in spec files are told, but no restart mends them.
async fn health(State(watched): State<Arc<Watched>>) -> (StatusCode, String) {
    let errors = watched.spec_errors();
    match watched.store.workers().await {
        Ok(_) if errors > 0 => {
            let errors = counted(errors as usize, "error");
            let text = format!("ok, but {errors} in spec files; see the log\n");
            (StatusCode::OK, text)
        }
        Ok(_) => (StatusCode::OK, "ok\n".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
    }
}

async fn metrics(
    State(watched): State<Arc<Watched>>,
) -> (StatusCode, [(&'static str, &'static str); 1], String) {
    const TEXT: [(&str, &str); 1] = [(
        "content-type",
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
    )];
    match watched.collect().await {
        Ok(text) => (StatusCode::OK, TEXT, text),
        Err(error) => (
            StatusCode::SERVICE_UNAVAILABLE,
            TEXT,
            format!("# {error}\n"),
        ),
    }
}

impl Watched {
    fn spec_errors(&self) -> i64 {
        let errors = self.spec_errors.as_ref();
        errors.map_or(0, |errors| errors.load(Ordering::Relaxed))
    }

    async fn collect(&self) -> taktline_store::Result<String> {
        let store = &self.store;
        let now = now();
        let mut registry = Registry::with_prefix("taktline");
        let runs: Family<OfPipeline, Gauge<i64, AtomicI64>> = Family::default();
        registry.register(
            "runs",
            "Runs that the store holds, by how they stand",
            runs.clone(),
        );
        let seconds: Family<OfPipeline, Gauge<f64, AtomicU64>> = Family::default();
        registry.register_with_unit(
            "run_duration",
            "Seconds of all these runs together",
            Unit::Seconds,
            seconds.clone(),
        );
        for (pipeline, state, count, took) in store.run_counts(0).await? {
            let labels = OfPipeline {
                pipeline,
                state: state.name(),
            };
            runs.get_or_create(&labels).set(count);
            seconds.get_or_create(&labels).set(took);
        }
        let jobs: Family<OfPipeline, Gauge<i64, AtomicI64>> = Family::default();
        registry.register(
            "jobs",
            "Jobs, by how they stand; `missed` and `skipped` are occurrences that never ran",
            jobs.clone(),
        );
        for (pipeline, state, count) in store.job_counts().await? {
            let labels = OfPipeline {
                pipeline,
                state: state.name(),
            };
            jobs.get_or_create(&labels).set(count);
        }
        if self.spec_errors.is_some() {
            let errors: Gauge<i64, AtomicI64> = Gauge::default();
            errors.set(self.spec_errors());
            registry.register(
                "spec_errors",
                "What is wrong with the spec files; those that were fine before go on as they were",
                errors,
            );
        }
        let waiting = store.jobs(Some(JobState::Queued), 10_000).await?;
        let due = waiting
            .iter()
            .filter(|job| job.due_at <= now)
            .map(|job| now - job.due_at);
        let age: Gauge<f64, AtomicU64> = Gauge::default();
        age.set(due.max().unwrap_or_default() as f64 / 1000.0);
        registry.register_with_unit(
            "queue_age",
            "How long the job waits that has been due longest",
            Unit::Seconds,
            age,
        );
        let workers: Gauge<i64, AtomicI64> = Gauge::default();
        let alive = store.workers().await?;
        workers.set(alive.iter().filter(|worker| worker.is_alive(now)).count() as i64);
        registry.register(
            "workers",
            "Workers that gave a sign of life within a minute",
            workers,
        );
        let values: Family<OfMetric, Gauge<f64, AtomicU64>> = Family::default();
        registry.register(
            "model_metric",
            "What each pipeline's newest success measured on rows that it did not learn from",
            values.clone(),
        );
        let finished: Family<OfPipeline, Gauge<f64, AtomicU64>> = Family::default();
        registry.register_with_unit(
            "last_success_timestamp",
            "When each pipeline last succeeded, since 1970",
            Unit::Seconds,
            finished.clone(),
        );
        let successes = RunFilter {
            state: Some(RunState::Succeeded),
            limit: LOOKED_AT,
            ..RunFilter::default()
        };
        let mut seen = std::collections::BTreeSet::new();
        for run in store.runs(&successes).await? {
            if !seen.insert(run.pipeline.clone()) {
                continue;
            }
            let labels = OfPipeline {
                pipeline: run.pipeline.clone(),
                state: RunState::Succeeded.name(),
            };
            finished
                .get_or_create(&labels)
                .set(run.finished_at.unwrap_or_default() as f64 / 1000.0);
            for metric in store.metrics_of(&run.id).await? {
                if let Some(value) = metric.value.filter(|_| metric.is_held_out()) {
                    let labels = OfMetric {
                        pipeline: run.pipeline.clone(),
                        stage: metric.stage,
                        metric: metric.name,
                    };
                    values.get_or_create(&labels).set(value);
                }
            }
        }
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = encode(&mut text, &registry);
        Ok(text)
    }
}
