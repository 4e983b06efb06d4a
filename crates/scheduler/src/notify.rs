//! Tells people and programs how jobs ended.

use std::{process::Stdio, time::Duration};

use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor, message::Mailbox};
use serde_json::Value;
use taktline_spec::{Email, Notification};
use taktline_store::{Notice, RunStore, now};
use tokio::{io::AsyncWriteExt, process::Command, task::JoinSet};

/// Nobody is waited for longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A notice that could not be delivered comes again after this, doubled each time.
const AGAIN: Duration = Duration::from_secs(60);

/// Delivers what is due, each in the background.
pub(crate) async fn deliver(
    store: &RunStore,
    deliveries: &mut JoinSet<()>,
) -> taktline_store::Result<()> {
    while deliveries.try_join_next().is_some() {}
    while let Some(notice) = store.take_notice(AGAIN, now()).await? {
        let store = store.clone();
        deliveries.spawn(async move {
            let sent = match tokio::time::timeout(PATIENCE, send(&notice)).await {
                Ok(sent) => sent,
                Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
            };
            match sent {
                Ok(()) => {
                    tracing::debug!(job = %notice.job, "told");
                    if let Err(error) = store.delivered(&notice.id).await {
                        tracing::warn!(job = %notice.job, %error, "the notice may come twice");
                    }
                }
                Err(error) => {
                    let to = whom(&notice.target);
                    tracing::warn!(job = %notice.job, to, attempt = notice.attempt, %error, "a notice was not delivered")
                }
            }
        });
    }
    Ok(())
}

/// Whom a notice is for, without the part of an address that lets others in.
fn whom(target: &Value) -> String {
    let of = |key: &str| target.get(key);
    if let Some(url) = of("webhook").and_then(Value::as_str) {
        let (scheme, rest) = url.split_once("://").unwrap_or(("webhook", url));
        let host = rest.split(['/', '?']).next().unwrap_or_default();
        let host = host.rsplit('@').next().unwrap_or_default();
        return format!("{scheme}://{host}/…");
    }
    if let Some(to) = of("email").and_then(|email| email.get("to")?.as_array()) {
        let to: Vec<&str> = to.iter().filter_map(Value::as_str).collect();
        return to.join(", ");
    }
    let program = of("command").and_then(|command| command.get(0)?.as_str());
    program.map_or_else(String::new, |program| format!("the command `{program}`"))
}

async fn send(notice: &Notice) -> Result<(), String> {
    let target: Notification =
        serde_json::from_value(notice.target.clone()).map_err(|error| error.to_string())?;
    if let Some(url) = target.webhook {
        webhook(&secret(&url)?, &notice.body).await?;
    }
    if let Some(email) = target.email {
        mail(&email, &notice.body).await?;
    }
    if let Some(command) = target.command {
        run(&command, &notice.body).await?;
    }
    Ok(())
}

/// Puts `${secret:NAME}` and `${env:NAME}` into a text; what is not set is an error.
fn secret(text: &str) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        filled.push_str(&rest[..start]);
        let (reference, after) = rest[start + 2..]
            .split_once('}')
            .ok_or("`${` without its `}`")?;
        let name = reference
            .strip_prefix("secret:")
            .or_else(|| reference.strip_prefix("env:"))
            .ok_or_else(|| {
                format!("`${{{reference}}}` cannot be put in here; write `${{secret:NAME}}`")
            })?;
        let (name, default) = match name.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (name, None),
        };
        let value = std::env::var(name)
            .ok()
            .or_else(|| default.map(str::to_owned));
        filled.push_str(
            &value.ok_or_else(|| format!("the environment variable `{name}` is not set"))?,
        );
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

async fn webhook(url: &str, body: &Value) -> Result<(), String> {
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .build()
        .map_err(|error| error.without_url().to_string())?;
    let answer = client
        .post(url)
        .header("content-type", "application/json")
        .body(body.to_string())
        .send()
        .await
        // The address may hold a secret.
        .map_err(|error| chain(&error.without_url()))?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!("the webhook answered {status}")),
    }
}

async fn mail(email: &Email, body: &Value) -> Result<(), String> {
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
    let mailbox = |address: &str| {
        let address = secret(address)?;
        address
            .parse::<Mailbox>()
            .map_err(|error| format!("`{address}` is no mail address: {error}"))
    };
    let subject = format!("taktline: {} {}", text("job"), text("state"));
    let mut message = Message::builder()
        .from(mailbox(&email.from)?)
        .subject(subject);
    for to in &email.to {
        message = message.to(mailbox(to)?);
    }
    let pretty = serde_json::to_string_pretty(body).unwrap_or_default();
    let reason = text("reason");
    let message = message
        .body(format!(
            "{} of {} {}.\n{reason}\n\n{pretty}\n",
            text("job"),
            text("pipeline"),
            text("state")
        ))
        .map_err(|error| error.to_string())?;
    let server = AsyncSmtpTransport::<Tokio1Executor>::from_url(&secret(&email.server)?)
        .map_err(|error| format!("the mail server's address is wrong: {}", chain(&error)))?
        .timeout(Some(PATIENCE))
        .build();
    server
        .send(message)
        .await
        .map(drop)
        .map_err(|error| chain(&error))
}

async fn run(command: &[String], body: &Value) -> Result<(), String> {
    let (program, arguments) = command.split_first().ok_or("the command is empty")?;
    let arguments = arguments
        .iter()
        .map(|text| secret(text))
        .collect::<Result<Vec<_>, _>>()?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot start `{program}`: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read is none the worse for it.
        let _ = stdin.write_all(body.to_string().as_bytes()).await;
    }
    let output = child
        .wait_with_output()
        .await
        .map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let told = String::from_utf8_lossy(&output.stderr);
            Err(format!(
                "`{program}` ended with {}: {}",
                output.status,
                told.trim()
            ))
        }
    }
}

/// An error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.contains(&told) {
            text = format!("{text}: {told}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_a_notice_is_for() {
        use serde_json::json;
        let hook = json!({"webhook": "https://bot:key@hooks.example/T0/secret?x=1"});
        assert_eq!(whom(&hook), "https://hooks.example/…");
        let mail = json!({"email": {"to": ["a@shop.example", "b@shop.example"]}});
        assert_eq!(whom(&mail), "a@shop.example, b@shop.example");
        assert_eq!(
            whom(&json!({"command": ["page", "--all"]})),
            "the command `page`"
        );
    }

    #[test]
    fn texts_are_filled_from_the_environment() {
        assert_eq!(secret("plain"), Ok("plain".to_owned()));
        assert_eq!(secret("a${env:TAKT_NOT_SET:-b}c"), Ok("abc".to_owned()));
        assert!(
            secret("${secret:TAKT_NOT_SET}")
                .is_err_and(|why| why.contains("`TAKT_NOT_SET` is not set"))
        );
        assert!(secret("${rows}").is_err());
        assert!(secret("${secret:A").is_err());
    }
}
