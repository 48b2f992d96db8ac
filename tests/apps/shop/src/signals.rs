//! SIGTERM: what a task and a server make of it.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::{error::Error, faults::OnTerminate, output, settings::Settings};

/// The exit code of a process that SIGTERM ended: 128 + 15.
const TERMINATED: u8 = 143;

/// Resolves when SIGTERM or Ctrl-C arrives. Listening begins with the call, not with the first poll.
pub(crate) fn terminated() -> Result<impl Future<Output = ()>, Error> {
    let listen = |kind| {
        signal(kind).map_err(|source| Error::System {
            what: "listen for signals".to_owned(),
            source,
        })
    };
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Runs a task to its end, or until SIGTERM. Without a handler of its own, the first process of a container would
/// not notice the signal at all.
pub(crate) async fn task(
    settings: &Settings,
    work: impl Future<Output = Result<(), Error>>,
) -> Result<ExitCode, Error> {
    let mut work = std::pin::pin!(work);
    let terminated = terminated()?;
    tokio::select! {
        done = &mut work => return done.map(|()| ExitCode::SUCCESS),
        () = terminated => {}
    }
    match settings.faults.on_terminate {
        OnTerminate::Stop => {
            output::line("stopped half-way by SIGTERM");
            Ok(ExitCode::from(TERMINATED))
        }
        OnTerminate::ClaimSuccess => {
            output::line("stopped half-way by SIGTERM, and claiming success as the environment asks");
            Ok(ExitCode::SUCCESS)
        }
        OnTerminate::Ignore => {
            output::line("SIGTERM ignored as the environment asks");
            work.await.map(|()| ExitCode::SUCCESS)
        }
    }
}
