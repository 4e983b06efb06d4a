//! One attempt at a job: a `takt run` of its own, watched to its end.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use taktline_spec::Occurrence;
use taktline_store::{Claim, Error, Outcome, RunReport, RunState, RunStore, now};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    process::Command,
    sync::{mpsc, watch},
    time::{interval, sleep_until},
};

use crate::{Stop, arrivals::FILE};

/// A run's result is JSON without pictures; more is not read.
const LONGEST_RESULT: u64 = 64 << 20;

/// Lines of a run's log that are kept; of more, the last is counted.
const MOST_LINES: i64 = 20_000;

/// No line of a log is longer.
const LONGEST_LINE: usize = 4_000;

/// A cancellation waits no longer than this to be heard.
const ASK_PAUSE: Duration = Duration::from_secs(1);

/// Log lines wait no longer than this to be kept.
const LOG_PAUSE: Duration = Duration::from_millis(700);

/// How to run an attempt.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
    /// `takt`.
    pub(crate) executable: PathBuf,
    /// How long a claim lasts without being renewed.
    pub(crate) lease: Duration,
    /// How long a run has to end by itself after it was asked to.
    pub(crate) grace: Duration,
}

/// Why a run is made to end.
#[derive(Debug, Clone, PartialEq)]
enum Ending {
    /// Somebody asked for it.
    Cancelled(String),
    /// It took too long.
    TimedOut,
    /// The worker must end now; the job goes back to the queue.
    Stopped,
    /// The job is somebody else's now.
    NotOurs,
}

impl fmt::Display for Ending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Cancelled(why) => why,
            Self::TimedOut => "it takes too long",
            Self::Stopped => "the worker is to end now",
            Self::NotOurs => "another worker has the job",
        })
    }
}

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// So, to be written down.
    So(Box<Outcome>),
    /// The worker was stopped: the job is to be taken up again.
    Stopped,
    /// The job is somebody else's: there is nothing to write down.
    NotOurs,
}

/// Runs the attempt. Whatever happens to this process, the run ends: it reads its standard input and leaves when that closes.
pub(crate) async fn run(
    store: &RunStore,
    claim: &Claim,
    manner: &Manner,
    mut stop: watch::Receiver<Stop>,
) -> Ended {
    let (mut command, params) = command(claim, manner);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let executable = manner.executable.display();
            return Ended::So(Box::new(failed(format!(
                "cannot start `{executable}`: {error}"
            ))));
        }
    };
    let process = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(process) = process
        && let Err(error) = store
            .note_process(&claim.run, i64::from(process), &params)
            .await
    {
        tracing::debug!(%error, "the run's process was not noted");
    }
    // Held open until the end.
    let _lifeline = child.stdin.take();
    let result = tokio::spawn(read_result(child.stdout.take()));
    let (lines, mut log) = mpsc::channel(1_000);
    let reading = tokio::spawn(read_lines(child.stderr.take(), lines));
    let mut keeper = LogKeeper::new(claim.run.clone());

    let began = Instant::now();
    let deadline = claim
        .job
        .settings
        .timeout
        .and_then(|timeout| began.checked_add(Duration::from_millis(timeout)));
    let mut heartbeat = interval(manner.lease / 3);
    let mut asking = interval(ASK_PAUSE);
    let mut keeping = interval(LOG_PAUSE);
    let mut ending: Option<Ending> = None;
    let mut kill_at: Option<Instant> = None;
    let mut stop_is_open = true;
    let status = loop {
        let far = began + Duration::from_secs(86_400 * 365);
        let mut end = None;
        tokio::select! {
            status = child.wait() => break status,
            _ = heartbeat.tick() => match store.renew(claim, manner.lease, now()).await {
                Ok(None) => {}
                Ok(Some(why)) => end = Some(Ending::Cancelled(why)),
                Err(Error::Refused(_)) => end = Some(Ending::NotOurs),
                // The run goes on; whether it may be written down is asked again at its end.
                Err(error) => tracing::warn!(job = %claim.job.id, %error, "the lease was not renewed"),
            },
            _ = asking.tick(), if ending.is_none() => {
                // An answer that does not come comes with the next renewal.
                let why = store.cancellation(claim).await.ok().flatten();
                end = why.map(Ending::Cancelled);
            }
            _ = keeping.tick() => keeper.keep(store).await,
            Some(line) = log.recv() => keeper.take(line),
            () = sleep_until(deadline.unwrap_or(far).into()), if deadline.is_some() && ending.is_none() => end = Some(Ending::TimedOut),
            () = sleep_until(kill_at.unwrap_or(far).into()), if kill_at.is_some() => {
                signal(process, Signal::KILL);
                kill_at = None;
            }
            changed = stop.changed(), if stop_is_open => match changed {
                Ok(()) if *stop.borrow() == Stop::Now => end = Some(Ending::Stopped),
                Ok(()) => {}
                Err(_) => stop_is_open = false,
            },
        }
        if let Some(end) = end
            && ending.is_none()
        {
            tracing::info!(job = %claim.job.id, run = %claim.run, why = %end, "ending a run");
            signal(process, Signal::TERM);
            kill_at = Some(Instant::now() + manner.grace);
            ending = Some(end);
        }
    };
    // What the run itself started must not outlive it.
    signal(process, Signal::KILL);
    let _ = tokio::time::timeout(Duration::from_secs(5), reading).await;
    while let Ok(line) = log.try_recv() {
        keeper.take(line);
    }
    keeper.keep(store).await;
    let printed = match tokio::time::timeout(Duration::from_secs(5), result).await {
        Ok(Ok(printed)) => printed,
        _ => Value::Null,
    };
    match ending {
        Some(Ending::NotOurs) => Ended::NotOurs,
        ending => match status {
            Ok(status) => outcome(
                status,
                RunReport::read(&printed),
                ending,
                claim.job.settings.timeout,
            ),
            Err(error) => Ended::So(Box::new(failed(format!(
                "the run's process is lost: {error}"
            )))),
        },
    }
}

fn failed(reason: String) -> Outcome {
    Outcome {
        state: RunState::Failed,
        exit_code: None,
        reason: Some(reason),
        report: RunReport::default(),
    }
}

fn outcome(
    status: std::process::ExitStatus,
    report: RunReport,
    ending: Option<Ending>,
    timeout: Option<u64>,
) -> Ended {
    use std::os::unix::process::ExitStatusExt as _;

    let told = report.reason.clone();
    let (state, reason) = match (status.code(), ending) {
        // It came to its end before it heard that it should not.
        (Some(0), _) => (RunState::Succeeded, None),
        (_, Some(Ending::Stopped)) => return Ended::Stopped,
        (_, Some(Ending::Cancelled(why))) => (RunState::Cancelled, Some(why)),
        (_, Some(Ending::TimedOut)) => {
            let seconds = timeout.unwrap_or_default() as f64 / 1000.0;
            (
                RunState::TimedOut,
                Some(format!("it took longer than {seconds} s")),
            )
        }
        (Some(3), _) => (RunState::Refused, told),
        (Some(130), _) => (
            RunState::Cancelled,
            Some("interrupted from outside".to_owned()),
        ),
        (Some(code), _) => (
            RunState::Failed,
            told.or_else(|| Some(format!("it ended with code {code}"))),
        ),
        (None, _) => {
            let signal = status.signal().unwrap_or_default();
            let guess = match signal {
                9 => "; most often the machine ran out of memory",
                _ => "",
            };
            let why = format!(
                "its process was ended by signal {signal}, which taktline did not send{guess}"
            );
            (RunState::Killed, Some(why))
        }
    };
    Ended::So(Box::new(Outcome {
        state,
        exit_code: status.code().map(i64::from),
        reason,
        report,
    }))
}

/// What runs the job, and the params that it gets.
fn command(claim: &Claim, manner: &Manner) -> (Command, Vec<(String, String)>) {
    let job = &claim.job;
    let mut command = Command::new(&manner.executable);
    if !job.settings.directory.is_empty() {
        command.arg("-C").arg(Path::new(&job.settings.directory));
    }
    let occurrence = occurrence(claim);
    command
        .args(["--format", "json", "--color", "never", "run", "--attended"])
        .args(["--run-id", &claim.run, "--run-key", &job.id])
        .args(["--schedule-time", &occurrence.time]);
    if let Some(file) = &occurrence.file {
        command.args(["--schedule-file", file]);
    }
    let params: Vec<(String, String)> = job
        .settings
        .params
        .iter()
        .filter(|(name, _)| name != FILE)
        .map(|(name, value)| (name.clone(), occurrence.fill(value)))
        .collect();
    for (name, value) in &params {
        command.args(["--param", &format!("{name}={value}")]);
    }
    command
        .arg(&job.file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own: a signal reaches what it starts, and Ctrl-C at the terminal does not.
        .process_group(0)
        .kill_on_drop(true);
    (command, params)
}

/// What the run stands for.
fn occurrence(claim: &Claim) -> Occurrence {
    let job = &claim.job;
    let zone: Option<taktline_spec::Zone> = job
        .settings
        .zone
        .as_deref()
        .and_then(|zone| zone.parse().ok());
    let time = chrono::DateTime::from_timestamp_millis(job.logical_time).unwrap_or_default();
    let occurrence = match zone {
        Some(zone) => Occurrence::at(&time.with_timezone(&zone)),
        None => Occurrence::at(&time),
    };
    Occurrence {
        file: job
            .settings
            .params
            .iter()
            .find(|(name, _)| name == FILE)
            .map(|(_, file)| file.clone()),
        ..occurrence
    }
}

fn signal(process: Option<i32>, signal: Signal) {
    if let Some(group) = process.and_then(Pid::from_raw) {
        // It may be gone already.
        let _ = kill_process_group(group, signal);
    }
}

async fn read_result(stdout: Option<impl AsyncRead + Unpin>) -> Value {
    let mut text = Vec::new();
    if let Some(stdout) = stdout {
        let _ = stdout.take(LONGEST_RESULT).read_to_end(&mut text).await;
    }
    serde_json::from_slice(&text).unwrap_or(Value::Null)
}

async fn read_lines(stderr: Option<impl AsyncRead + Unpin>, lines: mpsc::Sender<String>) {
    let Some(stderr) = stderr else { return };
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        // In parts, so that a line without end fills no memory.
        match (&mut reader)
            .take(1 << 16)
            .read_until(b'\n', &mut line)
            .await
        {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                let text: String = text.trim_end().chars().take(LONGEST_LINE).collect();
                if lines.send(text).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Keeps a run's lines, some at a time.
struct LogKeeper {
    run: String,
    next: i64,
    waiting: Vec<(i64, String)>,
    dropped: i64,
}

impl LogKeeper {
    fn new(run: String) -> Self {
        Self {
            run,
            next: 1,
            waiting: Vec::new(),
            dropped: 0,
        }
    }

    fn take(&mut self, line: String) {
        if self.next + self.waiting.len() as i64 > MOST_LINES {
            self.dropped += 1;
        } else {
            self.waiting.push((now(), line));
        }
    }

    async fn keep(&mut self, store: &RunStore) {
        if self.waiting.is_empty() && self.dropped == 0 {
            return;
        }
        match store.write_log(&self.run, self.next, &self.waiting).await {
            Ok(()) => {
                self.next += self.waiting.len() as i64;
                self.waiting.clear();
            }
            // They wait for the next time.
            Err(error) => tracing::debug!(%error, "log lines were not kept"),
        }
    }
}
